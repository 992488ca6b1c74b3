"""An endpoint under the path that it is served at, and what of it does not change from call to call."""

import logging
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, cast

import anyio

from orchestra_supervisor.gateway.endpoint import (
    Caller,
    Change,
    ChangeKind,
    Endpoint,
    Exchange,
    Greeting,
    Role,
)
from orchestra_supervisor.gateway.front.routing import Parameters, parameters_of
from orchestra_supervisor.gateway.front.wire import as_object
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Places", "Served"]

_PAGES = 100  # of tools/list that are looked through
_log = logging.getLogger("orchestra.gateway")


class Served:
    """An endpoint at its path.

    Args:
        path: Where HTTP clients find it; also what its sessions belong to.
        endpoint: Who answers.
    """

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        self.path = path
        self.endpoint = endpoint
        self._server_info: Json | None = None
        self._parameters: dict[Role, dict[str, Parameters]] = {}
        self._heard: dict[Role, Callable[[], None]] = {}
        self._changed = 0
        self._listing = anyio.Lock()

    async def greet(self, caller: Caller) -> Greeting:
        """Return what the endpoint says of itself to a caller."""
        greeting = await self.endpoint.greet(caller)
        self._server_info = greeting.server_info
        return greeting

    async def server_info(self, caller: Caller) -> Json:
        """Return who answers, for the `_meta` of each result: asked for once, it is the same for all."""
        return self._server_info or (await self.greet(caller)).server_info

    async def header_parameters(self, tool: str, exchange: Exchange) -> Parameters:
        """Return which arguments of a tool are repeated in headers.

        The tools are looked through once for each role, and again when the endpoint says that they changed.

        Args:
            tool: Its name.
            exchange: Who asks: it is by the list that they are shown.
        """
        role = exchange.caller.role
        if role not in self._parameters:
            async with self._listing:
                await self._look_through(role, exchange)
        return self._parameters.get(role, {}).get(tool, ())

    def close(self) -> None:
        """Stop listening to the endpoint."""
        for stop in self._heard.values():
            stop()
        self._heard.clear()

    async def _look_through(self, role: Role, exchange: Exchange) -> None:
        if role not in self._heard:
            self._heard[role] = self.endpoint.listen(exchange.caller, self._forget)
        if role in self._parameters:  # another call looked while this one waited
            return
        before = self._changed
        try:
            found = {name: parameters async for name, parameters in self._list_parameters(exchange)}
        except Exception:  # noqa: BLE001 - a list that fails must not make calls fail that work
            _log.exception("the tools at %s could not be listed to check headers by", self.path)
            return
        if before == self._changed:
            self._parameters[role] = found

    async def _list_parameters(self, exchange: Exchange) -> AsyncGenerator[tuple[str, Parameters], None]:
        params: Json = {"_meta": dict(exchange.meta)}
        for _ in range(_PAGES):
            page = await self.endpoint.handle("tools/list", params, exchange)
            tools = page.get("tools")
            for tool in cast("list[object]", tools) if isinstance(tools, list) else []:
                fields = as_object(tool)
                found = parameters_of(as_object(fields.get("inputSchema")))
                if found:
                    yield str(fields.get("name")), found
            if not isinstance(page.get("nextCursor"), str):
                return
            params = {**params, "cursor": page["nextCursor"]}

    def _forget(self, change: Change) -> None:
        if change.kind is ChangeKind.TOOLS:
            self._changed += 1
            self._parameters.clear()


class Places(Protocol):
    """Knows what is served where, as it is now."""

    def find(self, path: str) -> Served | None:
        """Return what is served at a path; the same object for as long as the same endpoint answers."""
        ...
