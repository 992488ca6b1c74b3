"""What answers behind the fronts, and what each part is given to do it with.

Two factories make everything that is served: `orchestra_supervisor.gateway.control.make_control` the control
tools, `orchestra_supervisor.gateway.catalog.make_catalog` the servers of the fleet. A part that is not there
is not served: its paths are answered 404.
"""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from anyio.abc import TaskStatus

from orchestra_supervisor.gateway.endpoint import Endpoint
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Catalog", "Context", "Parts", "make_parts"]

_CONTROL = "orchestra_supervisor.gateway.control"
_CATALOG = "orchestra_supervisor.gateway.catalog"

_log = logging.getLogger("orchestra.gateway")


@dataclass(frozen=True, slots=True)
class Context:
    """What a part is given.

    Attributes:
        home: The state directory.
        control: Path of the control socket.
        config: The answer to `GET /v1/mcp`, as it was when the gateway started.
    """

    home: Path
    control: Path
    config: Json


class Catalog(Protocol):
    """All servers of the fleet, as one endpoint for each choice of them."""

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Keep connections to the servers until cancelled; started when calls may come."""
        ...

    async def apply(self, config: Json) -> None:
        """Take what `GET /v1/mcp` says now."""
        ...

    def profile(self, name: str | None) -> Endpoint | None:
        """Return all servers, or those of a profile; the same object for as long as it is the same choice."""
        ...

    def server(self, name: str) -> Endpoint | None:
        """Return one server; the same object for as long as it is the same server."""
        ...


class Control(Endpoint, Protocol):
    """The control tools."""

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Follow the fleet until cancelled; started when calls may come."""
        ...

    async def apply(self, config: Json) -> None:
        """Take what `GET /v1/mcp` says now."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is.

    Attributes:
        control: The control tools, or None.
        catalog: The servers, or None.
    """

    control: Control | None
    catalog: Catalog | None


def make_parts(context: Context) -> Parts:
    """Make all parts that there are."""
    control = cast("Callable[[Context], Control] | None", _factory(_CONTROL, "make_control"))
    catalog = cast("Callable[[Context], Catalog] | None", _factory(_CATALOG, "make_catalog"))
    return Parts(None if control is None else control(context), None if catalog is None else catalog(context))


def _factory(module: str, name: str) -> object:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        _log.warning("there is no %s: its paths are answered 404", module)
        return None
