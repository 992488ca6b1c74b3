"""How errors are told: one line, a hint, a documented exit status."""

import os
import sys
import traceback

from orchestra_supervisor.model.errors import ERROR_KINDS, OrchestraError

__all__ = ["ActionFailed", "exit_status_of", "tell_error"]


class ActionFailed(OrchestraError):
    """Something was tried and did not succeed."""

    code = "failed"


def exit_status_of(code: str) -> int:
    """Return the exit status of an error code; 1 for one that this version does not know."""
    kind = ERROR_KINDS.get(code)
    return kind.exit if kind else 1


def tell_error(error: Exception) -> int:
    """Write an error to stderr.

    Args:
        error: Ours, the control client's, the system's, or a fault in this program.

    Returns:
        The exit status.
    """
    # Imported here, as colours and widths are of no use to a run without errors.
    from orchestra_supervisor.cli.terminal import Terminal
    from orchestra_supervisor.cli.text import make_visible

    code, message, hint = _describe(error)
    terminal = Terminal(sys.stderr, os.environ)
    terminal.line(f"orchestra: {terminal.paint('error:', 'red', 'bold')} {make_visible(message)}")
    if hint:
        terminal.line(f"  {terminal.paint('hint:', 'cyan')} {make_visible(hint)}")
    if code == "internal" and os.environ.get("ORCHESTRA_TRACEBACK"):
        terminal.line("".join(traceback.format_exception(error)).rstrip())
    return exit_status_of(code)


def _describe(error: Exception) -> tuple[str, str, str]:
    code = getattr(error, "code", None)
    message = getattr(error, "message", None)
    if isinstance(code, str) and isinstance(message, str):
        return code, message, str(getattr(error, "hint", ""))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return "failed", f"{where}{error.strerror}", ""
    return (
        "internal",
        f"a fault in this program: {type(error).__name__}: {error}",
        "run it again with ORCHESTRA_TRACEBACK=1 and report what it prints",
    )
