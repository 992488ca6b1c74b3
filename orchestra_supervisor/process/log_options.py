"""A log in the words of the logger: what the keeper carries to it without looking.

Source: docs/keeper-protocol.md, "The options of a log".
"""

from orchestra_supervisor.model.log import RateLimitSpec
from orchestra_supervisor.process.orders import LogTarget

__all__ = ["log_message"]


def log_message(target: LogTarget) -> dict[str, object]:
    """Return where output goes, as `spawn` and `log_config` say it."""
    spec = target.spec
    options: dict[str, object] = {
        "max_bytes": spec.max_bytes,
        "max_age": spec.max_age,
        "backups": spec.backups,
        "compress": spec.compress,
        "keep_bytes": spec.keep_bytes,
        "directory_keep_bytes": target.directory_keep_bytes,
        "format": spec.format,
        "redact": spec.redact,
        "redact_secrets": spec.redact_secrets,
        "rate_limit": _limit(spec.rate_limit),
        "sinks": [sink.model_dump() for sink in spec.sinks],
        "files": [file.model_dump() for file in spec.files],
    }
    message: dict[str, object] = {"path": target.path, "options": options}
    if target.secrets:
        message["secrets"] = target.secrets
    return message


def _limit(limit: RateLimitSpec | None) -> dict[str, object] | None:
    if limit is None:
        return None
    return {"bytes": limit.size, "per": limit.per, "burst": limit.burst, "on_limit": limit.on_limit}
