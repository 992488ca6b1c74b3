"""Words of supervisord's file in those of the native form."""

from collections.abc import Callable

from orchestra_supervisor.config.findings import Severity

__all__ = ["Note", "literal"]

Note = Callable[[Severity, str, str, str, str], None]
"""Keep a finding on an option: severity, code, option, message, hint."""


def literal(text: str) -> str:
    """Return a text that stays as it is when variables are filled in: a dollar sign is nothing there."""
    return text.replace("$", "$$")
