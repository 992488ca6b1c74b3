"""What a client is told while there is no gateway to ask.

A client that gets an error for `initialize`, or whose server ends, gives the server up: Claude Desktop until
it is quit and opened again. So where the fleet may yet come, the handshake is answered here. The model then
learns what is missing from the instructions and from a tool of a name that the control endpoint has too, and
the session goes on with the real one as soon as it is there. Every other request is refused with the reason.
"""

__all__ = ["CONNECTION_CLOSED", "STAND_IN_TOOL", "Absence", "greeting", "tool_list", "tool_result"]

CONNECTION_CLOSED = -32000
"""The JSON-RPC error of what could not be asked, or whose answer was lost; as in gateway/messages.py."""
STAND_IN_TOOL = "fleet_status"
"""The one tool that is listed meanwhile; the control endpoint has it too, so a call of it is never wrong."""

_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # as in gateway/endpoint.py
_LIST = {"listChanged": True}


class Absence:
    """Why nobody answers.

    Args:
        message: What is the case, and where.
        hint: What to do.
        is_passing: The gateway may yet come without a change of the client's file.
        code: The JSON-RPC error.
    """

    __slots__ = ("code", "hint", "is_passing", "message")

    def __init__(self, message: str, hint: str, *, is_passing: bool, code: int = CONNECTION_CLOSED) -> None:
        self.message = message
        self.hint = hint
        self.is_passing = is_passing
        self.code = code

    @property
    def text(self) -> str:
        """Return both in one line."""
        return f"{self.message}. To do: {self.hint}" if self.hint else self.message


def greeting(version: object, absence: Absence) -> dict[str, object]:
    """Return the result of `initialize`.

    Args:
        version: What the client asked for; answered in kind where we know it.
        absence: Why it is we who answer.
    """
    return {
        "protocolVersion": version if version in _VERSIONS else _VERSIONS[0],
        # What the endpoints have: a client asks only for what it was promised here.
        "capabilities": {
            "tools": _LIST,
            "prompts": _LIST,
            "resources": {"listChanged": True, "subscribe": True},
            "completions": {},
        },
        "serverInfo": {"name": "orchestra", "title": "Orchestra Supervisor", "version": "0"},
        "instructions": f"Not connected yet: {absence.text}. Tell the user so. It connects by itself then.",
    }


def tool_list() -> dict[str, object]:
    """Return the result of `tools/list`: one tool, by which a model learns what is missing."""
    return {
        "tools": [
            {
                "name": STAND_IN_TOOL,
                "description": "Tells why the fleet of services cannot be reached now, and what to do.",
                "inputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": True, "openWorldHint": False},
            }
        ]
    }


def tool_result(absence: Absence) -> dict[str, object]:
    """Return the result of calling that tool."""
    return {"content": [{"type": "text", "text": absence.text}], "isError": True}
