"""What a tool could not do, said to the model so that it can do better: what, and the way out."""

from orchestra_supervisor.control_client import ControlError
from orchestra_supervisor.gateway.messages import Json

__all__ = ["NeedsInput", "ToolTrouble", "trouble_of"]


class ToolTrouble(Exception):
    """An anticipated failure of a tool.

    Args:
        message: What happened, naming the value.
        hint: What to do, or empty.
        code: A code of docs/errors.md, or empty.
        outcome: One word for the audit: `refused`, `failed`.
    """

    def __init__(self, message: str, hint: str = "", *, code: str = "", outcome: str = "refused") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.outcome = outcome
        self.is_written = False
        """It stands in the audit already."""

    @property
    def text(self) -> str:
        """Return all of it for the model."""
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class NeedsInput(Exception):
    """The client is to ask its user and to come again (2026-07-28).

    Args:
        result: Sent in place of the tool's result.
    """

    def __init__(self, result: Json) -> None:
        super().__init__("input required")
        self.result = result


_HINTS = {
    "no_daemon": "it may just be replaced: ask again in some seconds; a person looks with `orchestra status`",
    "timeout": "it may still come: look with fleet_status, or wait with wait_for",
}


def trouble_of(error: ControlError) -> ToolTrouble:
    """Return what a refusal or failure of the daemon means for the model."""
    hint = _HINTS.get(error.code, "") if error.code in _HINTS else error.hint
    outcome = (
        "refused" if error.code in {"denied", "conflict", "invalid_request", "unknown_service"} else "failed"
    )
    return ToolTrouble(error.message, hint or error.hint, code=error.code, outcome=outcome)
