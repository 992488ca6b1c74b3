"""A stateless server's questions, put to a handshake client: ask, and call again with the answers.

Source: MCP 2026-07-28, multi round-trip requests (SEP-2322).
"""

from collections.abc import Awaitable, Callable

import anyio

from orchestra_supervisor.gateway.backends.conversation import ASKABLE, Deadline
from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.endpoint import AskRefused, Era, Exchange
from orchestra_supervisor.gateway.messages import INVALID_REQUEST, Json, RpcError

__all__ = ["is_question", "run_rounds"]

_ROUNDS = 10
_PAUSES = (0.05, 0.25)  # seconds before a call again that answers nothing: at first, at most


def is_question(result: Json) -> bool:
    """Return whether a result asks for something instead of giving it."""
    return result.get("resultType") == "input_required"


async def run_rounds(
    send: Callable[[Json], Awaitable[Json]], params: Json, exchange: Exchange, deadline: Deadline
) -> Json:
    """Call until there is a result.

    Args:
        send: Makes the call with these params.
        params: Of the client.
        exchange: The client's request. A stateless client gets the question itself.
        deadline: Of the call.

    Raises:
        RpcError: The client cannot or will not answer, or the server asks without end.
    """
    pause, longest = _PAUSES
    result = await send(params)
    if exchange.caller.era is Era.STATELESS:
        return result
    for _ in range(_ROUNDS):
        if not is_question(result):
            return result
        questions = member(result, "inputRequests")
        again: Json = dict(params)
        if questions:
            again["inputResponses"] = {
                key: await _ask(exchange, member(questions, key), deadline) for key in questions
            }
        else:
            await anyio.sleep(pause)
            pause = min(longest, 2 * pause)
        if "requestState" in result:
            again["requestState"] = result["requestState"]
        result = await send(again)
    raise RpcError(INVALID_REQUEST, f"the server asked the client {_ROUNDS} times, and goes on asking")


async def _ask(exchange: Exchange, question: Json, deadline: Deadline) -> Json:
    method = text(question, "method")
    if method not in ASKABLE:
        raise RpcError(INVALID_REQUEST, f"the server asks the client for {method!r}, which nobody can answer")
    deadline.hold()
    try:
        return await exchange.ask(method, member(question, "params"))
    except AskRefused as refused:
        message = f"the server needs an answer ({method}) that the client cannot give: {refused}"
        raise RpcError(INVALID_REQUEST, message) from refused
    finally:
        deadline.release()
