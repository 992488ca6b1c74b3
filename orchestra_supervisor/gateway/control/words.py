"""Instants, spans and sizes as people and models read them, and as they write them."""

import datetime as dt
import re

__all__ = ["age_text", "instant_text", "parse_instant", "parse_span", "size_text", "span_text"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd]?)")
_LONGEST = 366 * 86_400.0


def instant_text(wall: float | None) -> str | None:
    """Return an instant in ISO 8601, UTC, to the millisecond; None stays None."""
    if wall is None:
        return None
    moment = dt.datetime.fromtimestamp(wall, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span_text(seconds: float) -> str:
    """Return a span in few characters: `0.4 s`, `59 s`, `3 min`, `2 h`, `5 d`."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, unit, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def age_text(wall: float | None, now: float) -> str:
    """Return how long ago an instant was; empty where there is none."""
    return "" if wall is None else f"{span_text(now - wall)} ago"


def size_text(count: float) -> str:
    """Return bytes for people: `340 MB` (powers of 1024)."""
    value = max(0.0, count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1_000 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1_024
    raise AssertionError


def parse_span(words: str) -> float | None:
    """Return the seconds of `90`, `90s`, `10m`, `2h`, `1d`; None: it is no span, or longer than a year."""
    found = _SPAN.fullmatch(words.strip())
    if found is None:
        return None
    seconds = float(found[1]) * _UNITS[found[2] or "s"]
    return seconds if seconds <= _LONGEST else None


def parse_instant(words: str) -> float | None:
    """Return the wall seconds of an ISO 8601 instant (without a zone: UTC) or of seconds since the epoch."""
    try:
        return float(words)
    except ValueError:
        pass
    try:
        moment = dt.datetime.fromisoformat(words.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment.timestamp()
