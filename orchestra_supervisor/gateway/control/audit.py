"""What is written down of every change that was asked for: who, by which tool, and what came of it.

Arguments are kept by their shape: names of services and words of a list as they are, free text by its length.
"""

from collections.abc import Mapping
from functools import partial
from typing import cast

from orchestra_supervisor.control_client import ControlClient, ControlError
from orchestra_supervisor.gateway.control.desk import Desk, caller_name, client_name
from orchestra_supervisor.gateway.control.tool import Call
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.control.untrusted import clean
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Audit", "shape_of"]

_FREE = frozenset({"reason"})
_MOST = 20
_LONGEST = 256


def shape_of(arguments: Mapping[str, object]) -> Json:
    """Return arguments as the audit keeps them."""
    return {
        clean(str(name))[:60]: _shape(str(name), value) for name, value in list(arguments.items())[:_MOST]
    }


def _shape(name: str, value: object) -> object:
    match value:
        case str() if name in _FREE or len(value) > _LONGEST:
            return f"text of {len(value)}"
        case str():
            return clean(value)
        case list():
            return _shapes(name, cast("list[object]", value))
        case bool() | int() | float() | None:
            return value
        case _:
            return type(value).__name__


def _shapes(name: str, values: list[object]) -> list[object]:
    more = len(values) - _MOST
    return [_shape(name, one) for one in values[:_MOST]] + ([f"and {more} more"] if more > 0 else [])


class Audit:
    """Writes down changes, as the gateway's own word.

    Args:
        desk: Asks the daemon.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def note(self, call: Call, outcome: str, result: Mapping[str, object]) -> str:
        """Write a call down.

        Args:
            call: The call.
            outcome: `done`, `failed`, `refused`, `asked`.
            result: What came of it, in few words.

        Returns:
            Empty, or why it could not be written down.
        """
        caller = call.exchange.caller
        data: Json = {
            "client": client_name(caller),
            "principal": clean(caller.principal),
            "role": caller.role.name.lower(),
            "tool": call.tool,
            "arguments": shape_of(call.arguments),
            "outcome": outcome,
            "result": dict(result),
        }
        message = f"{caller_name(caller)}: {call.tool} {outcome}"
        try:
            await self._desk.ask(None, partial(_write, message=message, data=data))
        except ToolTrouble as trouble:
            return f"not written down: {trouble.message}"
        return ""


def _write(client: ControlClient, message: str, data: Json) -> None:
    try:
        client.audit("mcp.call", message, data=data)
    except ControlError as error:
        if error.code != "invalid_request":
            raise
        # Too much of it: what counts is that it is written down at all.
        client.audit(
            "mcp.call", message, data={**data, "arguments": {}, "result": {"left_out": error.message}}
        )
