"""Calls of tools: where they go, whether they may, and what is known already."""

from collections.abc import Mapping

from orchestra_supervisor.gateway.backends.backend import Backend
from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.rounds import is_question
from orchestra_supervisor.gateway.backends.spec import GatewaySpec, Sharing
from orchestra_supervisor.gateway.catalog.headers import argument_headers
from orchestra_supervisor.gateway.catalog.naming import SEPARATOR
from orchestra_supervisor.gateway.catalog.results import ResultCache, result_key
from orchestra_supervisor.gateway.catalog.shelf import Tool
from orchestra_supervisor.gateway.catalog.view import View, nearest
from orchestra_supervisor.gateway.endpoint import Caller, Era, Exchange
from orchestra_supervisor.gateway.messages import INVALID_PARAMS, INVALID_REQUEST, Json, RpcError

__all__ = ["CAPABILITY_KEY", "cacheable", "call_tool", "find_tool", "named", "servers_with"]

CAPABILITY_KEY = "orchestra/capability"
"""In a call's `_meta`: a tool of the server that `routing` gives for this capability is meant."""


def servers_with(spec: GatewaySpec, capability: str) -> list[str]:
    """Return the servers for a capability: that of `routing` first, then those that name it, by priority."""
    routed = spec.routing.get(capability)
    named = [one.name for one in spec.backends if capability in one.capabilities and one.name != routed]
    return [*([routed] if routed else []), *named]


def find_tool(view: View, spec: GatewaySpec, name: str, meta: Mapping[str, object]) -> Tool:
    """Return the tool that a name means.

    Its name in the catalog; `server__tool` by the server's own name of it; `capability__tool`; or the
    tool's own name alone: of the server that `_meta` names a capability of, or of the first by priority.

    Raises:
        RpcError: There is none.
    """
    tool = view.tool_of.get(name)
    if tool is not None:
        return tool
    head, _, rest = name.partition(SEPARATOR)
    if rest:
        servers = [head, *servers_with(spec, head)]
        tool = _of_servers(view.by_own_name.get(rest, []), servers)
        if tool is not None:
            return tool
    found = view.by_own_name.get(name, [])
    capability = meta.get(CAPABILITY_KEY)
    if isinstance(capability, str):
        tool = _of_servers(found, servers_with(spec, capability))
        if tool is not None:
            return tool
        raise RpcError(INVALID_PARAMS, f"no server with the capability {capability!r} has a tool {name!r}")
    if found:
        routed = set(spec.routing.values())
        return next((one for one in found if one.server in routed), found[0])
    hint = nearest(name, view.tools.keys)
    raise RpcError(INVALID_PARAMS, f"there is no tool {name!r} here.{hint}", {"name": name})


async def call_tool(
    backend: Backend, tool: Tool, params: Json, exchange: Exchange, results: ResultCache
) -> Json:
    """Call a tool, or answer with what is kept of it.

    Args:
        backend: Its server.
        tool: To be called.
        params: As the client sent them, by whatever name.
        exchange: Who asks.
        results: What is kept of the server.

    Raises:
        RpcError: The server's, or ours.
    """
    if tool.is_blocked:
        message = (
            f"the tool {tool.name!r} of {tool.server} is not what it was when it was first seen, and is "
            "blocked. Hint: look at what changed, and let an operator accept it"
        )
        raise RpcError(INVALID_REQUEST, message, {"server": tool.server, "tool": tool.name, "pin": "changed"})
    arguments = member(params, "arguments")
    sent: Json = {**params, "name": tool.name}
    policy = backend.spec.cache
    is_kept = policy.is_on and tool.is_safe and "requestState" not in params
    key = result_key(tool.name, arguments, _owner(backend, exchange.caller)) if is_kept else None
    if key is not None and (kept := results.get(key)) is not None:
        return cacheable(kept, exchange.caller, is_read=False)
    if not tool.is_read_only:
        results.clear()
    version = results.version
    headers = argument_headers(tool.headers, arguments) if tool.headers else ()
    result = await backend.call("tools/call", sent, exchange, is_safe=tool.is_safe, headers=headers)
    if key is not None:
        results.put(key, dict(result), policy, version)
    return result


def cacheable(result: Json, caller: Caller, *, is_read: bool = True) -> Json:
    """Return a result with what stateless clients need of one that they might keep."""
    if not is_read or caller.era is Era.HANDSHAKE or is_question(result):
        return result
    return {"ttlMs": 0, "cacheScope": "private", **result}


def _owner(backend: Backend, caller: Caller) -> str:
    sharing = backend.spec.sharing
    if sharing is Sharing.PER_CLIENT:
        return caller.principal
    return f"{caller.principal} {caller.session}" if sharing is Sharing.PER_SESSION else ""


def _of_servers(tools: list[Tool], servers: list[str]) -> Tool | None:
    return next((one for server in servers for one in tools if one.server == server), None)


def named(params: Json) -> str:
    """Return the name that a request is about.

    Raises:
        RpcError: It has none.
    """
    name = text(params, "name")
    if not name:
        raise RpcError(INVALID_PARAMS, "`name` is missing, or not a string")
    arguments = params.get("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "`arguments` is not an object")
    return name
