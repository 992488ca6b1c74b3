"""What callers are told when a server cannot be asked, or did not answer: why, and whether to try again."""

from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.messages import CANCELLED, CONNECTION_CLOSED, Json, RpcError

__all__ = ["too_late", "unavailable"]

_RETRYABLE = {Trouble.LOST, Trouble.SESSION, Trouble.SILENT, Trouble.BUSY, Trouble.FAULT}


def unavailable(name: str, error: LinkError) -> RpcError:
    """Return what a caller is told whose call could not be made, or broke off.

    Args:
        name: Of the backend.
        error: What was seen.
    """
    is_retryable = error.trouble in _RETRYABLE
    if error.trouble is Trouble.FAULT:
        what, hint = f"{name} {error.reason}", "ask again, or look at its log"
    elif error.was_sent:
        what = f"{name} went away while it was asked ({error.reason})"
        hint = "what it was asked may have been done; it is being brought back: ask again in a moment"
    else:
        what = f"{name} cannot be asked now: {error.reason}"
        hint = "ask again in a moment" if is_retryable else "it has to be put right first"
    data: Json = {"server": name, "retryable": is_retryable, "trouble": error.trouble.value}
    return RpcError(CONNECTION_CLOSED, f"{what}. Hint: {hint}", data)


def too_late(name: str, seconds: float) -> RpcError:
    """Return what a caller is told whose call took too long."""
    message = (
        f"{name} did not answer within {seconds:g} s, and was told to stop. Ask for less, or raise `timeout`"
    )
    return RpcError(CANCELLED, message, {"server": name, "retryable": False})
