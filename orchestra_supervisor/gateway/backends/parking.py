"""Calls put aside while a stateless client asks its user.

A handshake server that asks something holds its call open. A stateless client cannot be asked: it gets a
result `input_required` with the question and a handle, and comes again with the answer. The handle is
random, belongs to who got it and to the very request, and expires; there are not many of them.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass

import anyio

from orchestra_supervisor.gateway.backends.conversation import ASK_LIMIT, ASKABLE
from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.link import Call
from orchestra_supervisor.gateway.backends.visit import Visit
from orchestra_supervisor.gateway.endpoint import Caller
from orchestra_supervisor.gateway.messages import INVALID_PARAMS, INVALID_REQUEST, Json, RpcError

__all__ = ["Parked", "Parking", "answer_of", "fingerprint"]

_PREFIX = "orchestra."
_PLACES = 64  # calls of one backend; one more, and the oldest is given up


@dataclass(frozen=True, slots=True)
class Parked:
    """A call that waits for its client.

    Attributes:
        call: To the server.
        question: The request of the server.
        principal: Whose call it is.
        about: Fingerprint of the request.
        since: When it was parked.
        visit: Its claim on the instance.
    """

    call: Call
    question: Json
    principal: str
    about: str
    since: float
    visit: Visit


def fingerprint(method: str, params: Json) -> str:
    """Return what makes two requests the same: all but `_meta` and what a client adds when it comes again."""
    rest = {
        key: value for key, value in params.items() if key not in {"_meta", "inputResponses", "requestState"}
    }
    return hashlib.sha256(json.dumps([method, rest], sort_keys=True).encode("ascii")).hexdigest()


class Parking:
    """The parked calls of one backend."""

    def __init__(self) -> None:
        self._parked: dict[str, Parked] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, call: Call, question: Json, caller: Caller, about: str, visit: Visit) -> Json | None:
        """Put a call aside.

        Returns:
            The result that the client gets, None where the client does not say that it can be asked so.
        """
        method = text(question, "method")
        if ASKABLE.get(method) not in caller.capabilities:
            return None
        if len(self._parked) >= _PLACES:
            self._give_up(next(iter(self._parked)), "too many calls wait for an answer")
        handle = _PREFIX + secrets.token_urlsafe(24)
        now = anyio.current_time()
        self._parked[handle] = Parked(call, question, caller.principal, about, now, visit)
        request: Json = {"method": method, "params": member(question, "params")}
        return {"resultType": "input_required", "inputRequests": {"1": request}, "requestState": handle}

    def take(self, params: Json, caller: Caller, about: str) -> Parked | None:
        """Return the call that a request takes up again, None where it is no such request.

        Raises:
            RpcError: There is no such call, or it is not this client's.
        """
        handle = text(params, "requestState")
        if not handle.startswith(_PREFIX):
            return None
        parked = self._parked.get(handle)
        if parked is None or parked.principal != caller.principal or parked.about != about:
            message = "this call does not wait for an answer any more; make it again without `requestState`"
            raise RpcError(INVALID_PARAMS, message)
        del self._parked[handle]
        return parked

    def expire(self) -> None:
        """Give up the calls whose clients did not come again. Called now and then."""
        oldest = anyio.current_time() - ASK_LIMIT
        for handle in [handle for handle, parked in self._parked.items() if parked.since < oldest]:
            self._give_up(handle, "the client did not come again with an answer")

    def clear(self) -> None:
        """Give up all of them."""
        for handle in list(self._parked):
            self._give_up(handle, "the gateway ends")

    def _give_up(self, handle: str, reason: str) -> None:
        parked = self._parked.pop(handle)
        parked.call.drop(reason)
        parked.visit.end()


def answer_of(parked: Parked, params: Json) -> Json:
    """Return the response to the server's question that a client brought."""
    answer: Json = {"jsonrpc": "2.0", "id": parked.question["id"]}
    responses = member(params, "inputResponses")
    if "1" in responses:
        return {**answer, "result": member(responses, "1")}
    error = RpcError(INVALID_REQUEST, "the client came again without an answer")
    return {**answer, "error": error.to_json()}
