"""A handshake conversation as it is in memory: what runs, what the client is asked, what it watches."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio

from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Change, ChangeKind, Role
from orchestra_supervisor.gateway.front.changes import Changes, declared_kinds
from orchestra_supervisor.gateway.front.eras import LOG_LEVELS
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.front.wire import as_object
from orchestra_supervisor.gateway.messages import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    Json,
    RequestId,
    RpcError,
)

__all__ = ["MAX_RUNNING", "MAX_WATCHED", "Conversation", "Running", "Send"]

Send = Callable[[Json], Awaitable[None]]
"""Sends the client a message."""

MAX_RUNNING = 256
"""Requests of one conversation that are answered at a time; a further one is told to come again."""
MAX_WATCHED = 1024
"""Resources that one conversation may be subscribed to."""

_CAPABILITY = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
_GIVE_UP_TIME = 1.0  # seconds to tell a client that its answer is no longer wanted


class Running:
    """The requests of one conversation that are being answered, by their ids."""

    def __init__(self) -> None:
        self._scopes: dict[RequestId, anyio.CancelScope] = {}
        self._cancelled: set[RequestId] = set()

    def __len__(self) -> int:
        return len(self._scopes)

    def enter(self, request_id: RequestId, scope: anyio.CancelScope, unsent: int = 0) -> None:
        """Note a request.

        Args:
            request_id: Its id.
            scope: What it is answered in.
            unsent: Answers that the client has not taken yet: they count as well.

        Raises:
            RpcError: Another one of this id is being answered, or too many are.
        """
        if request_id in self._scopes:
            raise RpcError(INVALID_PARAMS, f"a request with the id {request_id!r} is being answered already")
        if len(self._scopes) + unsent >= MAX_RUNNING:
            message = f"{MAX_RUNNING} requests of this client are being answered: ask again when one is done"
            raise RpcError(CONNECTION_CLOSED, message)
        self._scopes[request_id] = scope

    def leave(self, request_id: RequestId) -> bool:
        """Forget a request; returns whether the client had cancelled it."""
        self._scopes.pop(request_id, None)
        cancelled = request_id in self._cancelled
        self._cancelled.discard(request_id)
        return cancelled

    def cancel(self, params: Json) -> None:
        """Take `notifications/cancelled`; one for a request that is not being answered does nothing."""
        request_id = params.get("requestId")
        if isinstance(request_id, str | int) and request_id in self._scopes:
            self._cancelled.add(request_id)
            self._scopes[request_id].cancel()

    def cancel_all(self) -> None:
        """Stop answering."""
        for scope in list(self._scopes.values()):
            scope.cancel()


class _Ask:
    """A request to the client that waits for its answer."""

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.response: Json | None = None  # still None when answered: the client is gone


class Conversation:
    """What a handshake client and we have going.

    Args:
        served: Whom it talks with.
        caller: Who it is.
        capabilities: What the endpoint said it does.
        stamp: Begins the ids of requests to the client: no two gateways use the same.
    """

    def __init__(self, served: Served, caller: Caller, capabilities: Json, stamp: str) -> None:
        self.served = served
        self.caller = caller
        self.running = Running()
        self.closed = False
        self._level = 0
        self._stamp = stamp
        self._asks: dict[str, _Ask] = {}
        self._asked = 0
        self._watched: dict[str, Callable[[], None]] = {}
        self._declared = declared_kinds(capabilities)
        self.changes = Changes(self._wants)
        self._deaf: Callable[[], None] | None = None

    def listen(self, *, missed: bool = False) -> None:
        """Begin to collect changes for the client; again does nothing.

        Args:
            missed: Some may have passed unseen: say of each list that it changed.
        """
        if self._deaf is None and not self.closed:
            self._deaf = self.served.endpoint.listen(self.caller, self.changes.tell)
            if missed:
                for kind in self._declared - {ChangeKind.RESOURCE}:
                    self.changes.tell(Change(kind))

    def take_role(self, role: Role) -> None:
        """Note that the caller's role is another one now."""
        if role is not self.caller.role:
            self.caller = replace(self.caller, role=role)

    def wants_log(self, level: object) -> bool:
        """Return whether a log message of a level is for this client; one of no level is."""
        return level not in LOG_LEVELS or LOG_LEVELS.index(str(level)) >= self._level

    def set_level(self, params: Json) -> Json:
        """Answer `logging/setLevel`.

        Raises:
            RpcError: There is no such level.
        """
        level = params.get("level")
        if level not in LOG_LEVELS:
            raise RpcError(INVALID_PARAMS, f"level {level!r}: one of {', '.join(LOG_LEVELS)}")
        self._level = LOG_LEVELS.index(str(level))
        return {}

    async def subscribe(self, params: Json) -> Json:
        """Answer `resources/subscribe`.

        Raises:
            RpcError: There is no such resource, it does not tell, or too many are watched.
        """
        uri = _uri_of(params)
        if uri not in self._watched:
            if len(self._watched) >= MAX_WATCHED:
                message = f"this session is subscribed to {MAX_WATCHED} resources: unsubscribe some first"
                raise RpcError(INVALID_PARAMS, message)
            self.listen()
            stop = await self.served.endpoint.watch(uri, self.caller)
            if self.closed or uri in self._watched:  # while the endpoint thought about it
                stop()
            else:
                self._watched[uri] = stop
        return {}

    def unsubscribe(self, params: Json) -> Json:
        """Answer `resources/unsubscribe`.

        Raises:
            RpcError: It names no resource.
        """
        stop = self._watched.pop(_uri_of(params), None)
        if stop is not None:
            stop()
        return {}

    async def ask(self, method: str, params: Json, send: Send) -> Json:
        """Ask the client and wait for its answer.

        Args:
            method: `elicitation/create`, ...
            params: Of it.
            send: Takes the request to the client.

        Raises:
            AskRefused: It did not declare that it can be asked this, or it is gone.
            RpcError: It answered with an error.
        """
        capability = _CAPABILITY.get(method)
        if capability not in self.caller.capabilities:
            raise AskRefused(f"the client did not declare {capability or method!r}")
        if self.closed:
            raise AskRefused("the client is gone")
        self._asked += 1
        ask_id, ask = f"{self._stamp}-{self._asked}", _Ask()
        self._asks[ask_id] = ask
        try:
            await send({"jsonrpc": "2.0", "id": ask_id, "method": method, "params": params})
            await ask.answered.wait()
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_GIVE_UP_TIME, shield=True):
                reason = {"requestId": ask_id, "reason": "the request that asked was cancelled"}
                await send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": reason})
            raise
        finally:
            self._asks.pop(ask_id, None)
        if ask.response is None:
            raise AskRefused("the client went away before it answered")
        if "error" in ask.response:
            raise RpcError.from_json(as_object(ask.response["error"]))
        return as_object(ask.response.get("result"))

    def take_response(self, message: Json) -> None:
        """Take the client's answer; one to nothing that we asked does nothing."""
        ask = self._asks.get(str(message.get("id")))
        if ask is not None and ask.response is None:
            ask.response = message
            ask.answered.set()

    def close(self) -> None:
        """End it: what runs is cancelled, what was asked is refused, nothing is watched any more."""
        self.closed = True
        self.running.cancel_all()
        for ask in self._asks.values():
            ask.answered.set()
        for stop in self._watched.values():
            stop()
        self._watched.clear()
        if self._deaf is not None:
            self._deaf()
            self._deaf = None

    def _wants(self, change: Change) -> bool:
        if change.kind is ChangeKind.RESOURCE:
            return change.uri in self._watched
        return change.kind in self._declared


def _uri_of(params: Json) -> str:
    uri = params.get("uri")
    if not isinstance(uri, str) or not uri:
        raise RpcError(INVALID_PARAMS, "uri names a resource")
    return uri
