"""What the daemon says on its stderr, which is the main log or a terminal; the journal has what happens."""

import logging
import sys

from orchestra_supervisor.journald import ERROR, WARNING, with_priority

__all__ = ["log_to_stderr", "say"]


def say(text: str) -> None:
    """Say one thing to whoever reads stderr; `error:` at its begin makes it one."""
    priority = ERROR if text.startswith("error:") else WARNING
    print(with_priority(f"orchestra: {text}", priority), file=sys.stderr, flush=True)  # noqa: T201  # stderr is talk


def log_to_stderr() -> None:
    """Let plugins' logs through, and nobody else's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("orchestra: %(name)s: %(message)s"))
    ours = logging.getLogger("orchestra")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
