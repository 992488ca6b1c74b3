"""Says how far a long action is, for as long as it goes on, to a client that asked for it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import text
from orchestra_supervisor.gateway.control.tool import Call
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.messages import Json

__all__ = ["with_progress"]

T = TypeVar("T")

_EVERY = 1.0  # seconds
_GOALS = {
    "ready": frozenset({"ready", "completed"}),
    "stopped": frozenset({"stopped", "completed", "failed"}),
    "completed": frozenset({"completed"}),
}
_NAMED = 3  # services that a message names


async def with_progress(
    desk: Desk, call: Call, names: list[str], goal: str, total: float, action: Callable[[], Awaitable[T]]
) -> T:
    """Carry out an action and tell of it meanwhile; what the action raises is raised.

    Args:
        desk: Knows how services stand.
        call: Whose `progressToken` is told, if it has one.
        names: The services that are waited for.
        goal: `ready`, `stopped` or `completed`.
        total: Seconds that it may take.
        action: Waits.
    """
    token = call.exchange.meta.get("progressToken")
    if not isinstance(token, str | int):
        return await action()
    done: list[T] = []
    trouble: list[ToolTrouble] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tell, desk, call, token, names, goal, total)
        try:
            done.append(await action())
        except ToolTrouble as error:
            trouble.append(error)
        tasks.cancel_scope.cancel()
    if trouble:
        raise trouble[0]
    return done[0]


async def _tell(desk: Desk, call: Call, token: str | int, names: list[str], goal: str, total: float) -> None:
    began = anyio.current_time()
    while True:
        try:
            rows = await desk.status(call.exchange.caller, names)
        except ToolTrouble as error:
            message = error.message
        else:
            there = _GOALS[goal]
            away = [row for row in rows if text(row, "state") not in there]
            states = ", ".join(f"{text(row, 'name')} is {text(row, 'state')}" for row in away[:_NAMED])
            more = f" and {len(away) - _NAMED} more" if len(away) > _NAMED else ""
            message = f"{len(rows) - len(away)} of {len(rows)} {goal}" + (
                f"; {states}{more}" if states else ""
            )
        elapsed = round(anyio.current_time() - began, 3)
        progress: Json = {
            "progressToken": token,
            "progress": elapsed,
            "total": max(total, elapsed),
            "message": message,
        }
        await call.exchange.notify("notifications/progress", progress)
        await anyio.sleep(_EVERY)
