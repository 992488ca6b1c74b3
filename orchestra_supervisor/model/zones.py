"""Time zones by name. Their tables are constants that happen to be read from disk, each once a process."""

from datetime import tzinfo
from functools import cache

__all__ = ["zone_of"]


@cache
def zone_of(name: str) -> tzinfo:
    """Return a time zone of the IANA database, the host's or that of the tzdata package.

    Raises:
        ValueError: There is no such zone.
    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415  # of a fleet without schedules nobody needs it

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:  # unreadable, not a relative name, not found
        msg = f"there is no time zone {name!r}"
        raise ValueError(msg) from error
