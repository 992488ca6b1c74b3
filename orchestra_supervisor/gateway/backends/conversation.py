"""One client's call to a server, from its first message to its result, with what both say and ask meanwhile.

The two eras differ in how a server asks the client something in the middle of a call. A handshake server
sends a request, and waits; a stateless one ends the call with `input_required`, and is called again.
Where client and server are of one era that is passed on; else it is translated here and in `rounds`.
"""

from collections.abc import Callable

import anyio
import anyio.abc

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.link import Call, LinkError
from orchestra_supervisor.gateway.endpoint import AskRefused, Exchange
from orchestra_supervisor.gateway.messages import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Json,
    RpcError,
)

__all__ = ["ASKABLE", "ASK_LIMIT", "Conversation", "Deadline", "Park", "outcome"]

ASK_LIMIT = 600.0
"""Seconds that a user is given for an answer; the call's own time stands still meanwhile."""

_ASKS = 32  # questions of one call that wait for the client at a time

ASKABLE = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""What a server may ask a client, and the capability that the client declares for it."""


class Deadline:
    """When a call is given up.

    Args:
        seconds: For the call.
    """

    def __init__(self, seconds: float) -> None:
        self.scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
        self._seconds = seconds
        self._held = 0

    def hold(self) -> None:
        """Give the user time."""
        self._held += 1
        self.scope.deadline = anyio.current_time() + ASK_LIMIT

    def release(self) -> None:
        """Count on, from the beginning."""
        self._held -= 1
        if not self._held:
            self.scope.deadline = anyio.current_time() + self._seconds


def outcome(response: Json) -> Json:
    """Return the result that a response carries.

    Raises:
        RpcError: It carries an error.
    """
    if "error" in response:
        raise RpcError.from_json(member(response, "error"))
    return member(response, "result")


Park = Callable[[Call, Json], Json | None]
"""Puts a call aside that asks something; returns what the client gets, None where it cannot be asked."""


class Conversation:
    """See the module.

    Args:
        call: To the server, on its way. The conversation drops it, unless it was parked.
        exchange: The client's request.
        deadline: Of the call.
        park: Of a stateless client.
    """

    def __init__(self, call: Call, exchange: Exchange, deadline: Deadline, park: Park | None) -> None:
        self._call = call
        self._exchange = exchange
        self._deadline = deadline
        self._park = park
        self._asking: dict[object, anyio.CancelScope] = {}

    async def result(self) -> Json:
        """Return the result.

        Raises:
            RpcError: The server answered with an error.
            LinkError: It went away.
        """
        is_parked = False
        try:
            while True:
                message = await self._call.next()
                if "method" not in message:
                    return outcome(message)
                if "id" not in message:
                    await self._tell(message)
                elif text(message, "method") == "ping":
                    await self._answer({"jsonrpc": "2.0", "id": message["id"], "result": {}})
                elif self._park is None:
                    return await self._ask_along(message)
                elif (parked := self._park(self._call, message)) is not None:
                    is_parked = True
                    return parked
                else:
                    await self._refuse(message, "the client cannot be asked for this")
        finally:
            if not is_parked:
                self._call.drop()

    async def _ask_along(self, first: Json) -> Json:
        """Ask the client, and go on reading: the server may give up, or go away."""
        response: Json = {}
        failure: LinkError | None = None
        async with anyio.create_task_group() as group:
            self._start_asking(group, first)
            try:
                while True:
                    message = await self._call.next()
                    if "method" not in message:
                        response = message
                        break
                    if "id" in message and len(self._asking) >= _ASKS:
                        await self._refuse(message, f"{_ASKS} questions wait for the client already")
                    elif "id" in message:
                        self._start_asking(group, message)
                    else:
                        await self._tell(message)
            except LinkError as error:
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return outcome(response)

    def _start_asking(self, group: anyio.abc.TaskGroup, message: Json) -> None:
        scope = self._asking[message["id"]] = anyio.CancelScope()
        group.start_soon(self._ask, message, scope)

    async def _ask(self, message: Json, scope: anyio.CancelScope) -> None:
        method = text(message, "method")
        answer: Json = {"jsonrpc": "2.0", "id": message["id"]}
        self._deadline.hold()
        try:
            with scope:
                try:
                    if method == "ping":
                        answer["result"] = {}
                    elif method in ASKABLE:
                        answer["result"] = await self._exchange.ask(method, member(message, "params"))
                    else:
                        answer["error"] = RpcError(METHOD_NOT_FOUND, f"{method} is not known").to_json()
                except AskRefused as refused:
                    answer["error"] = RpcError(
                        INVALID_REQUEST, str(refused) or "the client refused"
                    ).to_json()
                except RpcError as error:
                    answer["error"] = error.to_json()
                await self._answer(answer)
        finally:
            self._deadline.release()
            self._asking.pop(message["id"], None)

    async def _answer(self, answer: Json) -> None:
        try:
            await self._call.answer(answer)
        except LinkError:
            return  # the call's own reader finds that out

    async def _refuse(self, message: Json, why: str) -> None:
        error = RpcError(INVALID_REQUEST, f"{text(message, 'method')}: {why}")
        await self._answer({"jsonrpc": "2.0", "id": message["id"], "error": error.to_json()})

    async def _tell(self, message: Json) -> None:
        method, params = text(message, "method"), member(message, "params")
        if method == "notifications/progress":
            token = self._exchange.meta.get("progressToken")
            if token is not None:
                await self._exchange.notify(method, {**params, "progressToken": token})
        elif method == "notifications/cancelled":
            request = params.get("requestId")
            scope = self._asking.get(request) if isinstance(request, str | int) else None
            if scope is not None:
                scope.cancel()
        elif method == "notifications/message":
            await self._exchange.notify(method, params)
