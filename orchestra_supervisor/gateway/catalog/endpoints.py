"""The two endpoints of the gateway: the catalog of all servers, and one server as it is."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.gateway.backends.backend import Backend
from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.spec import GatewaySpec, Profile
from orchestra_supervisor.gateway.catalog.hygiene import clean_text
from orchestra_supervisor.gateway.catalog.relay import cacheable, call_tool, find_tool, named, servers_with
from orchestra_supervisor.gateway.catalog.results import ResultCache
from orchestra_supervisor.gateway.catalog.search import CALL, SEARCH, SEARCH_TOOLS, SearchIndex
from orchestra_supervisor.gateway.catalog.view import Listed, View, nearest
from orchestra_supervisor.gateway.endpoint import Caller, Exchange, Greeting, Sink
from orchestra_supervisor.gateway.messages import INVALID_PARAMS, METHOD_NOT_FOUND, Json, RpcError

__all__ = ["Aggregate", "Single", "Stock"]

_INSTRUCTIONS = 1900  # characters; clients cut at 2 KB
_LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")
_TOUCHED = ("resources/subscribe", "resources/unsubscribe", "subscriptions/listen")


class Stock(Protocol):
    """What the endpoints have of the catalog."""

    @property
    def spec(self) -> GatewaySpec:
        """Return the settings."""
        ...

    def view(self, profile: str | None) -> View:
        """Return what a profile lets see; RpcError where there is no such profile."""
        ...

    async def acquainted(self, profile: str | None) -> None:
        """Wait a little for those servers of a profile that nobody has met yet."""
        ...

    def own_view(self, server: str) -> View:
        """Return a server's own lists."""
        ...

    def backend(self, server: str) -> Backend:
        """Return a server; RpcError where there is none."""
        ...

    def results(self, server: str) -> ResultCache:
        """Return what is kept of a server."""
        ...

    def add_sink(self, key: str, sink: Sink) -> Callable[[], None]:
        """Tell a sink of changes to a view (`*` and a profile's name, or `=` and a server's)."""
        ...


@dataclass(slots=True)
class _Found:
    """The index of a view, made when it is first searched."""

    view: View
    index: SearchIndex


class Aggregate:
    """All servers as one, or those that a profile lets see; an endpoint.

    Args:
        stock: The catalog.
        profile: Its name; None: all.
    """

    def __init__(self, stock: Stock, profile: str | None = None) -> None:
        self._stock = stock
        self._profile = profile
        self._found: _Found | None = None

    async def greet(self, caller: Caller) -> Greeting:  # noqa: ARG002 - the same for everybody
        """Return what it says of itself."""
        view = self._view()
        name = "orchestra-gateway" if self._profile is None else f"orchestra-gateway-{self._profile}"
        return Greeting(
            server_info={"name": name, "title": "Orchestra gateway", "version": VERSION},
            capabilities={
                "tools": {"listChanged": True},
                "resources": {"listChanged": True, "subscribe": True},
                "prompts": {"listChanged": True},
                "completions": {},
                "logging": {},
            },
            instructions=self._instructions(view),
        )

    async def handle(self, method: str, params: Json, exchange: Exchange) -> Json:
        """Answer one request; see endpoint.Endpoint."""
        if method in _LISTS:
            await self._stock.acquainted(self._profile)
        match method:
            case "tools/call":
                return await self._call(params, exchange)
            case "tools/list" if self._is_search:
                return cacheable({"tools": list(SEARCH_TOOLS)}, exchange.caller)
            case "tools/list":
                return _page(self._view().tools, "tools", params, exchange)
            case "resources/list":
                return _page(self._view().resources, "resources", params, exchange)
            case "resources/templates/list":
                return _page(self._view().templates, "resourceTemplates", params, exchange)
            case "prompts/list":
                return _page(self._view().prompts, "prompts", params, exchange)
            case "resources/read":
                return await self._read(params, exchange)
            case "prompts/get":
                server, prompt = self._prompt(named(params))
                return await self._stock.backend(server).call(method, {**params, "name": prompt}, exchange)
            case "completion/complete":
                return await self._complete(params, exchange)
            case _:
                raise RpcError(METHOD_NOT_FOUND, f"{method} is not answered by the catalog of all servers")

    async def notified(self, method: str, params: Json, caller: Caller) -> None:
        """Hand a notification on to those servers that belong to the client alone."""
        for shelf in self._view().shelves:
            await self._stock.backend(shelf.server).notify(method, params, caller)

    def listen(self, caller: Caller, sink: Sink) -> Callable[[], None]:  # noqa: ARG002 - the same for everybody
        """Tell a sink of every change; see endpoint.Endpoint."""
        return self._stock.add_sink(f"*{self._profile or ''}", sink)

    async def watch(self, uri: str, caller: Caller) -> Callable[[], None]:  # noqa: ARG002 - the same for everybody
        """Have a resource told of; see endpoint.Endpoint."""
        return await self._stock.backend(self._owner(uri)).watch(uri)

    @property
    def _is_search(self) -> bool:
        spec = self._stock.spec
        if self._profile is None:
            return spec.is_search
        return spec.profiles.get(self._profile, Profile()).is_search

    def _view(self) -> View:
        return self._stock.view(self._profile)

    async def _call(self, params: Json, exchange: Exchange) -> Json:
        name = named(params)
        if name not in self._view().tool_of:
            await self._stock.acquainted(self._profile)
        if self._is_search and name == SEARCH:
            return self._search(member(params, "arguments"))
        if self._is_search and name == CALL:
            wanted = member(params, "arguments")
            name = named(wanted)
            params = {**params, "name": name, "arguments": member(wanted, "arguments")}
        tool = find_tool(self._view(), self._stock.spec, name, exchange.meta)
        results = self._stock.results(tool.server)
        return await call_tool(self._stock.backend(tool.server), tool, params, exchange, results)

    def _search(self, arguments: Json) -> Json:
        view = self._view()
        if self._found is None or self._found.view is not view:
            self._found = _Found(view, SearchIndex(view))
        capability = text(arguments, "capability")
        servers = frozenset(servers_with(self._stock.spec, capability)) if capability else None
        found = self._found.index.find(arguments, servers)
        words = json.dumps(found, ensure_ascii=False)
        return {"content": [{"type": "text", "text": words}], "structuredContent": found}

    async def _read(self, params: Json, exchange: Exchange) -> Json:
        uri = text(params, "uri")
        owner = self._view().owner_of(uri)
        if owner:
            return cacheable(
                await self._stock.backend(owner).call("resources/read", params, exchange, is_safe=True),
                exchange.caller,
            )
        # A server may hand out uris that it does not list: those that run are asked in turn.
        for shelf in self._view().shelves:
            backend = self._stock.backend(shelf.server)
            introduction = backend.introduction
            if backend.is_ready and introduction is not None and introduction.can("resources"):
                try:
                    found = await backend.call("resources/read", params, exchange, is_safe=True)
                except RpcError:
                    continue
                return cacheable(found, exchange.caller)
        raise self._no_resource(uri)

    def _owner(self, uri: str) -> str:
        owner = self._view().owner_of(uri)
        if not owner:
            raise self._no_resource(uri)
        return owner

    def _no_resource(self, uri: str) -> RpcError:
        hint = nearest(uri, self._view().resources.keys)
        return RpcError(INVALID_PARAMS, f"Resource not found: {uri[:500]}.{hint}", {"uri": uri})

    def _prompt(self, name: str) -> tuple[str, str]:
        view = self._view()
        found = view.prompt_of.get(name)
        if found is None:
            hint = nearest(name, view.prompts.keys)
            raise RpcError(INVALID_PARAMS, f"there is no prompt {name!r} here.{hint}", {"name": name})
        return found

    async def _complete(self, params: Json, exchange: Exchange) -> Json:
        reference = member(params, "ref")
        if text(reference, "type") == "ref/prompt":
            server, prompt = self._prompt(named(reference))
            params = {**params, "ref": {**reference, "name": prompt}}
        else:
            uri = text(reference, "uri")
            view = self._view()
            owner = next((shelf.server for shelf in view.shelves if uri in shelf.templates), "")
            server = owner or self._owner(uri)
        backend = self._stock.backend(server)
        return await backend.call("completion/complete", params, exchange, is_safe=True)

    def _instructions(self, view: View) -> str:
        lines = ["MCP servers behind one endpoint. Tools are named server__tool."]
        if self._is_search:
            lines.append("Find tools by tools_search, call them by tools_call.")
        lines.append("Servers:")
        for shelf in view.shelves:
            spec = self._stock.backend(shelf.server).spec
            about = " ".join(clean_text(spec.description).split())[:120]
            lines.append(f"- {spec.name} ({len(shelf.tools)} tools){': ' + about if about else ''}")
        text_so_far = "\n".join(lines)
        if len(text_so_far) <= _INSTRUCTIONS:
            return text_so_far
        return text_so_far[:_INSTRUCTIONS].rpartition("\n")[0] + "\n- ..."


class Single:
    """One server, with its own names and capabilities; an endpoint.

    Args:
        stock: The catalog.
        server: Its name.
    """

    def __init__(self, stock: Stock, server: str) -> None:
        self._stock = stock
        self._server = server

    async def greet(self, caller: Caller) -> Greeting:  # noqa: ARG002 - the same for everybody
        """Return what the server says of itself."""
        backend = self._stock.backend(self._server)
        introduction = await backend.introduced()
        capabilities: Json = dict(introduction.capabilities)
        for feature in ("tools", "prompts", "resources"):
            if feature in capabilities:
                capabilities[feature] = {**member(capabilities, feature), "listChanged": True}
        info = introduction.server_info or {"name": self._server, "version": "0"}
        return Greeting(dict(info), capabilities, clean_text(introduction.instructions))

    async def handle(self, method: str, params: Json, exchange: Exchange) -> Json:
        """Answer one request; see endpoint.Endpoint. What is not known here goes to the server as it is."""
        backend = self._stock.backend(self._server)
        match method:
            case "tools/list":
                return _page((await self._view()).tools, "tools", params, exchange)
            case "resources/list":
                return _page((await self._view()).resources, "resources", params, exchange)
            case "resources/templates/list":
                return _page((await self._view()).templates, "resourceTemplates", params, exchange)
            case "prompts/list":
                return _page((await self._view()).prompts, "prompts", params, exchange)
            case "tools/call":
                name = named(params)
                view = await self._view()
                tool = view.tool_of.get(name)
                if tool is None:
                    hint = nearest(name, view.tools.keys)
                    raise RpcError(
                        INVALID_PARAMS, f"{self._server} has no tool {name!r}.{hint}", {"name": name}
                    )
                return await call_tool(backend, tool, params, exchange, self._stock.results(self._server))
            case "resources/read":
                return cacheable(await backend.call(method, params, exchange, is_safe=True), exchange.caller)
            case _ if method in _TOUCHED:
                raise RpcError(METHOD_NOT_FOUND, f"{method} is not answered here")
            case _:
                return await backend.call(method, params, exchange)

    async def notified(self, method: str, params: Json, caller: Caller) -> None:
        """Hand a notification on, where the server belongs to the client alone."""
        await self._stock.backend(self._server).notify(method, params, caller)

    def listen(self, caller: Caller, sink: Sink) -> Callable[[], None]:  # noqa: ARG002 - the same for everybody
        """Tell a sink of every change; see endpoint.Endpoint."""
        return self._stock.add_sink(f"={self._server}", sink)

    async def watch(self, uri: str, caller: Caller) -> Callable[[], None]:  # noqa: ARG002 - the same for everybody
        """Have a resource told of; see endpoint.Endpoint."""
        return await self._stock.backend(self._server).watch(uri)

    async def _view(self) -> View:
        """Return its lists; a server that nobody has met yet is waited for."""
        backend = self._stock.backend(self._server)
        if backend.introduction is None:
            await backend.introduced()
        return self._stock.own_view(self._server)


def _page(listed: Listed, key: str, params: Json, exchange: Exchange) -> Json:
    entries, cursor = listed.page(params.get("cursor"))
    result: Json = {key: entries}
    if cursor:
        result["nextCursor"] = cursor
    return cacheable(result, exchange.caller)
