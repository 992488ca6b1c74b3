"""The plugins in the daemon: their host, what the engine asks of them, and the events they get."""

import logging
from collections.abc import Sequence

import anyio
import anyio.abc

from orchestra_supervisor.engine import builtin
from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.secrets import SecretDesk
from orchestra_supervisor.engine.targets import TargetDesk
from orchestra_supervisor.model.spec import FleetSettings
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.host import Changed, PluginHost
from orchestra_supervisor.plugin_api.loader import no_secrets
from orchestra_supervisor.plugin_api.register import directly, register
from orchestra_supervisor.probes.plugin_check import CheckRunner

__all__ = ["PluginDesk"]

DRAIN_TIME = 1.0
"""Seconds that plugins get for the last events when the daemon ends."""


class PluginDesk:
    """Everything of the daemon that has to do with plugins.

    Args:
        bus: Where events come from, and go.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self.on_changed: Changed = _nobody
        """Told of secrets that have changed at their provider; set before the plugins run."""
        self.secrets = SecretDesk(lambda: self.host)
        self.targets = TargetDesk(lambda: self.host)
        context = PluginContext(builtin.NAME, {}, logging.getLogger("orchestra"), 0.0, no_secrets)
        _, offers = register(builtin, context, directly)
        self.host = PluginHost(self._publish, self.secrets.reveal, self._changed, offers)
        self.checks = CheckRunner(self.host)

    async def run(
        self,
        settings: FleetSettings,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Load the plugins and serve them until cancelled. Nothing waits for them but what asks them."""
        with self._bus.followed_by(self.host.hand_on):
            async with anyio.create_task_group() as tasks:
                await tasks.start(self.host.run)
                task_status.started()
                await self.apply(settings)

    async def apply(self, settings: FleetSettings) -> None:
        """Go over to the plugins of other settings."""
        await self.host.apply(settings.plugins, entry_points=settings.plugin_entry_points)

    async def end(self) -> None:
        """Let the last events reach the plugins, within DRAIN_TIME."""
        with anyio.move_on_after(DRAIN_TIME):
            await self.host.drain()

    def _publish(self, kind: str, message: str, data: dict[str, object]) -> None:
        self._bus.publish(kind, message, data=data)

    def _changed(self, scheme: str, names: Sequence[str]) -> None:
        """Take note of secrets that have changed, and pass it on."""
        self.secrets.forget(scheme, names)
        self.on_changed(scheme, names)


def _nobody(_scheme: str, _names: Sequence[str]) -> None:
    """Is told of changes where nobody has asked to be."""
