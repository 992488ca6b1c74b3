"""What answers behind the fronts: the control tools, and the servers of the fleet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio
from anyio.abc import TaskStatus

from orchestra_supervisor.gateway.backends.callbacks import Callbacks
from orchestra_supervisor.gateway.backends.channel import inherited_stdio_socket
from orchestra_supervisor.gateway.catalog.catalog import Catalog, make_catalog
from orchestra_supervisor.gateway.control.endpoint import Settings, make_control
from orchestra_supervisor.gateway.control.fields import members
from orchestra_supervisor.gateway.endpoint import Caller, Endpoint
from orchestra_supervisor.gateway.messages import Json, RpcError

__all__ = ["Control", "FleetServers", "Part", "Parts", "Servers", "make_parts"]


class Part(Protocol):
    """What runs behind the fronts."""

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Do what it does besides answering, until cancelled; started when calls may come.

        Returns by itself where the gateway cannot go on with it, and should be started anew.
        """
        ...

    async def apply(self, config: Json) -> None:
        """Take what `GET /v1/mcp` says now."""
        ...


class Control(Part, Endpoint, Protocol):
    """The control tools."""


class Servers(Part, Protocol):
    """All servers of the fleet, as one endpoint for each choice of them."""

    def told(self, service: str, state: str) -> None:
        """Be told how a service of the fleet is: its name, and a word of the daemon's."""
        ...

    def left(self, caller: Caller) -> None:
        """Be told that a session is over."""
        ...

    def profile(self, name: str | None) -> Endpoint | None:
        """Return all servers, or those of a profile; the same object for as long as there is this choice."""
        ...

    def server(self, name: str) -> Endpoint | None:
        """Return one server; the same object for as long as it is there."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """All that answers.

    Attributes:
        control: The control tools.
        servers: The servers.
    """

    control: Control
    servers: Servers


class FleetServers:
    """The catalog's endpoints, each made once.

    Args:
        catalog: Has them.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._profiles: dict[str | None, Endpoint] = {}
        self._singles: dict[str, Endpoint] = {}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the servers; see `Part`."""
        task_status.started()
        await self._catalog.run()

    async def apply(self, config: Json) -> None:
        """Take what the daemon says now."""
        self._catalog.update(config)

    def told(self, service: str, state: str) -> None:
        """Be told how a service is; see `Servers`."""
        self._catalog.told(service, state)

    def left(self, caller: Caller) -> None:
        """Be told that a session is over; see `Servers`."""
        self._catalog.left(caller)

    def profile(self, name: str | None) -> Endpoint | None:
        """Return all servers, or those of a profile; see `Servers`."""
        try:
            self._catalog.view(name)
        except RpcError:
            self._profiles.pop(name, None)
            return None
        if name not in self._profiles:
            self._profiles[name] = self._catalog.aggregate(name)
        return self._profiles[name]

    def server(self, name: str) -> Endpoint | None:
        """Return one server; see `Servers`."""
        try:
            self._catalog.backend(name)
        except RpcError:
            self._singles.pop(name, None)
            return None
        if name not in self._singles:
            self._singles[name] = self._catalog.single(name)
        return self._singles[name]


def make_parts(home: Path, config: Json, callbacks: Callbacks, environ: Mapping[str, str]) -> Parts:
    """Make all parts. Called in the event loop.

    Args:
        home: The state directory.
        config: The answer to `GET /v1/mcp`.
        callbacks: Verbs of the daemon.
        environ: Names the channel of the keeper.

    Raises:
        OSError: A file that has to be there can be neither read nor made.
    """
    channel = inherited_stdio_socket(environ)
    catalog = make_catalog(config, channel=channel, callbacks=callbacks, home=home)
    control = make_control(home, Settings.from_config(config), lambda: members(catalog.report(), "backends"))
    return Parts(control, FleetServers(catalog))
