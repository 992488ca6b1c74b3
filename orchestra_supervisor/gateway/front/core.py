"""Answers requests, whatever they came by: what the front says itself, and what it hands to the endpoint.

Knows no transport: it is given a request, who asks, and a way to send them messages in the meantime.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio

from orchestra_supervisor.gateway.endpoint import (
    HANDSHAKE_VERSIONS,
    STATELESS_VERSIONS,
    Caller,
    ChangeKind,
    Era,
    Greeting,
)
from orchestra_supervisor.gateway.front.changes import Changes, declared_kinds, notification_of
from orchestra_supervisor.gateway.front.conversation import MAX_WATCHED, Conversation, Send
from orchestra_supervisor.gateway.front.eras import META_SUBSCRIPTION, finish
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.front.turn import Turn
from orchestra_supervisor.gateway.front.wire import as_object
from orchestra_supervisor.gateway.messages import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Json,
    RequestId,
    RpcError,
)

__all__ = ["LISTEN", "answer", "greet", "greeting_result", "listen", "notified"]

LISTEN = "subscriptions/listen"
_DISCOVER = "server/discover"
_HANDSHAKE_ONLY = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
)
_STATELESS_ONLY = frozenset({_DISCOVER, LISTEN})
_NOT_FOR_ENDPOINTS = frozenset({"notifications/cancelled", "notifications/initialized"})
_LISTENED = (
    ("toolsListChanged", ChangeKind.TOOLS),
    ("promptsListChanged", ChangeKind.PROMPTS),
    ("resourcesListChanged", ChangeKind.RESOURCES),
)

_log = logging.getLogger("orchestra.gateway")


async def answer(
    served: Served, method: str, params: Json, turn: Turn, conversation: Conversation | None
) -> Json:
    """Answer one request other than `initialize` and `subscriptions/listen`.

    Args:
        served: Whom it is for.
        method: What is asked.
        params: Of it.
        turn: Who asks, and the way back.
        conversation: Of a handshake client; None: a stateless one asks.

    Returns:
        The result, complete for the era.

    Raises:
        RpcError: What the client is told instead; never anything else but a cancellation.
    """
    with _contained(served, method):
        if conversation is not None:
            return await _answer_handshake(served, method, params, turn, conversation)
        return await _answer_stateless(served, method, params, turn)


async def greet(served: Served, caller: Caller) -> Greeting:
    """Return what an endpoint says of itself.

    Raises:
        RpcError: What the client is told instead.
    """
    with _contained(served, "initialize"):
        return await served.greet(caller)


@contextmanager
def _contained(served: Served, method: str) -> Generator[None, None, None]:
    """Keep a fault of an endpoint from ending more than its request, and from telling its insides."""
    try:
        yield
    except RpcError:
        raise
    except Exception as error:
        _log.exception("%s at %s failed", method, served.path)
        raise RpcError(INTERNAL_ERROR, f"{method} failed in the gateway; its log says how") from error


async def _answer_handshake(
    served: Served, method: str, params: Json, turn: Turn, conversation: Conversation
) -> Json:
    match method:
        case "ping":
            return {}
        case "logging/setLevel":
            return conversation.set_level(params)
        case "resources/subscribe":
            return await conversation.subscribe(params)
        case "resources/unsubscribe":
            return conversation.unsubscribe(params)
        case "initialize":
            raise RpcError(INVALID_REQUEST, "this session is initialized already")
        case _ if method in _STATELESS_ONLY:
            raise _unknown(method, turn.caller)
        case _:
            return await served.endpoint.handle(method, params, turn)


async def _answer_stateless(served: Served, method: str, params: Json, turn: Turn) -> Json:
    if method in _HANDSHAKE_ONLY:
        raise _unknown(method, turn.caller)
    if method == _DISCOVER:
        greeting = await served.greet(turn.caller)
        result: Json = {
            "supportedVersions": list(STATELESS_VERSIONS),
            "capabilities": greeting.capabilities,
        }
        if greeting.instructions:
            result["instructions"] = greeting.instructions
        return finish(result, method, greeting.server_info)
    result = await served.endpoint.handle(method, params, turn)
    return finish(result, method, await served.server_info(turn.caller))


def greeting_result(greeting: Greeting, version: str) -> Json:
    """Return the result of `initialize`."""
    result: Json = {
        "protocolVersion": version,
        "capabilities": greeting.capabilities,
        "serverInfo": greeting.server_info,
    }
    if greeting.instructions:
        result["instructions"] = greeting.instructions
    return result


async def listen(
    served: Served,
    params: Json,
    caller: Caller,
    request_id: RequestId,
    send: Send,
    *,
    ending: anyio.Event,
) -> Json:
    """Answer `subscriptions/listen`: acknowledge, then tell of changes until the gateway ends.

    Returns:
        The result that says that the gateway ends.

    Raises:
        RpcError: The request does not say what it wants.
    """
    if not isinstance(params.get("notifications"), dict):
        raise RpcError(INVALID_PARAMS, "notifications says which changes are wanted")
    with _contained(served, LISTEN):
        return await _listen(served, params, caller, request_id, send, ending)


async def _listen(
    served: Served, params: Json, caller: Caller, request_id: RequestId, send: Send, ending: anyio.Event
) -> Json:
    greeting = await served.greet(caller)
    asked, declared = as_object(params["notifications"]), declared_kinds(greeting.capabilities)
    honoured: Json = {name: True for name, kind in _LISTENED if asked.get(name) is True and kind in declared}
    kinds = {kind for name, kind in _LISTENED if name in honoured}
    uris: set[str] = set()
    changes = Changes(lambda change: change.uri in uris if change.uri else change.kind in kinds)
    stops = [served.endpoint.listen(caller, changes.tell)]
    try:
        if ChangeKind.RESOURCE in declared:
            uris.update(await _watch(served, asked.get("resourceSubscriptions"), caller, stops))
        if uris:
            honoured["resourceSubscriptions"] = sorted(uris)
        meta: Json = {META_SUBSCRIPTION: request_id}
        acknowledged = {"notifications": honoured, "_meta": meta}
        await send(
            {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": acknowledged}
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell, changes, meta, send)
            await ending.wait()
            tasks.cancel_scope.cancel()
        return finish({"_meta": meta}, LISTEN, greeting.server_info)
    finally:
        for stop in stops:
            stop()


async def _tell(changes: Changes, meta: Json, send: Send) -> None:
    while True:
        for change in await changes.gather():
            await send(notification_of(change, meta))


async def _watch(served: Served, wanted: object, caller: Caller, stops: list[Callable[[], None]]) -> set[str]:
    """Watch the resources that tell of themselves; the others are left out of the acknowledgement."""
    watched: set[str] = set()
    for uri in wanted if isinstance(wanted, list) else ():  # pyright: ignore[reportUnknownVariableType] - JSON
        if isinstance(uri, str) and uri not in watched and len(watched) < MAX_WATCHED:
            try:
                stops.append(await served.endpoint.watch(uri, caller))
            except RpcError:
                continue
            watched.add(uri)
    return watched


async def notified(served: Served, method: str, params: Json, caller: Caller) -> None:
    """Hand a client's notification to the endpoint; a fault of the endpoint is logged, nobody waits."""
    if method in _NOT_FOR_ENDPOINTS or not method.startswith("notifications/"):
        return
    try:
        await served.endpoint.notified(method, params, caller)
    except Exception:  # noqa: BLE001 - as in `_contained`
        _log.exception("%s at %s failed", method, served.path)


def _unknown(method: str, caller: Caller) -> RpcError:
    versions = HANDSHAKE_VERSIONS if caller.era is Era.STATELESS else STATELESS_VERSIONS
    data: Json = {"method": method}
    message = f"there is no {method} in {caller.version}; it belongs to {', '.join(versions)}"
    return RpcError(METHOD_NOT_FOUND, message, data)
