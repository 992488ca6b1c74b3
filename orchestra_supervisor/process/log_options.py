"""A log in the words of the logger: what the keeper carries to it without looking.

Source: docs/keeper-protocol.md, "The options of a log".
"""

from orchestra_supervisor.process.orders import LogTarget

__all__ = ["log_message"]


def log_message(target: LogTarget) -> dict[str, object]:
    """Return where output goes, as `spawn` and `log_config` say it."""
    spec = target.spec
    options = {"max_bytes": spec.max_bytes, "backups": spec.backups, "compress": spec.compress}
    return {"path": target.path, "options": options}
