"""Watches the memory of runs where nobody else does: limits that no control group holds, and recycling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio

from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.engine.meter import Sampler
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.model.spec import Seconds
from orchestra_supervisor.process.figures import Root
from orchestra_supervisor.rules.inputs import Used
from orchestra_supervisor.rules.service import Service

__all__ = ["GUARD_PERIOD", "MemoryGuard"]

GUARD_PERIOD: Seconds = 1.0
"""Between two looks, where there is anything to look for."""
SHARE = 0.02
"""Part of one processor that looking may take; where a look takes longer, the next one comes later."""


@dataclass(frozen=True, slots=True)
class MemoryGuard:
    """Looks at the runs of services whose memory somebody has to watch, and at nobody else's.

    Attributes:
        core: The services, and where what is seen goes.
        sampler: Looks at processes.
        clock: Time.
        held: Returns the limits that control groups hold.
    """

    core: Core
    sampler: Sampler
    clock: Clock
    held: Callable[[], frozenset[str]]

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            runs = self._watched()
            if not runs:
                await self.core.wait_changed()
                continue
            began = self.clock.mono()
            await self._look(runs, began)
            pause = max(GUARD_PERIOD, self.sampler.cost / SHARE)
            await anyio.sleep(max(0.0, began + pause - self.clock.mono()))

    def _watched(self) -> dict[str, Root]:
        is_held = "memory" in self.held()
        found: dict[str, Root] = {}
        for name, service in self.core.services.items():
            run = service.run
            if run is not None and run.pid is not None and _is_watched(service, is_held=is_held):
                found[name] = Root(run.id, run.pid)
        return found

    async def _look(self, runs: Mapping[str, Root], now: float) -> None:
        is_watched = "memory" not in self.held()
        found = await self.sampler.look(runs, {}, now, self.clock.wall())
        for name, figures in found.items():
            self.core.post(name, Used(runs[name].run, figures.memory, is_watched))


def _is_watched(service: Service, *, is_held: bool) -> bool:
    spec = service.spec
    by_limit = spec.limits.memory is not None and not is_held
    return (by_limit or spec.recycle.memory is not None) and service.ending is None
