"""Instants that a cron expression names in a time zone, the two odd nights of a year decided.

Cron names times of day; a library (cronsim) lists those, without a zone. Which instants they are is
decided here. Within a spell of one offset each time of day is one instant. Where clocks go forward,
times are left out: a run planned in such a gap happens at the first instant after it, and so do all
runs planned there, as one. Where clocks go back, times come twice: a run happens at the first of the
two. Only an expression whose hour is `*` names no time of day but every hour that passes: it runs in both.

No clock is read here: a wall instant comes in, another goes out (ADR-0010).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from orchestra_supervisor.model.zones import zone_of

__all__ = ["instant_text", "next_instant"]

_LONGEST_REPEAT = timedelta(hours=3)
"""By so much clocks have gone back at most, in any zone since 1970."""


def next_instant(expression: str, timezone: str, after: float) -> float | None:
    """Return the first planned instant after another one, or None: it names none within fifty years.

    Args:
        expression: Five cron fields.
        timezone: IANA name.
        after: Wall seconds; so is what is returned, in whole seconds.
    """
    zone = zone_of(timezone)
    local = datetime.fromtimestamp(after, zone).replace(tzinfo=None, fold=0)
    hourly = expression.split()[1] == "*"
    again: list[float] = []
    for time_of_day in _times_of_day(expression, local, hourly=hourly and _comes_twice(local, zone)):
        first, second = _instants(time_of_day, zone)
        if first > after:
            return min([first, *again])
        if hourly and second > after:
            again.append(second)
    return min(again, default=None)


def instant_text(timezone: str, at: float) -> str:
    """Return an instant for people, as `2026-03-29 03:00 CEST`."""
    return datetime.fromtimestamp(at, zone_of(timezone)).strftime("%Y-%m-%d %H:%M %Z")


def _times_of_day(expression: str, local: datetime, *, hourly: bool) -> Iterator[datetime]:
    """Yield what an expression names after a local time; the repeated ones before it where they may count."""
    from cronsim import CronSim  # noqa: PLC0415  # of a fleet without schedules nobody needs it

    # From a second before, since the library goes on from what it is given and drops fractions.
    begin = local - (_LONGEST_REPEAT if hourly else timedelta(seconds=1))
    return CronSim(expression, begin)


def _comes_twice(local: datetime, zone: tzinfo) -> bool:
    first, second = _instants(local, zone)
    return second > first


def _instants(local: datetime, zone: tzinfo) -> tuple[float, float]:
    """Return the first and the second instant of a local time: the same one but where clocks go back."""
    before = _offset(local.replace(tzinfo=zone, fold=0))
    after = _offset(local.replace(tzinfo=zone, fold=1))
    plain = local.replace(tzinfo=UTC).timestamp()
    if after > before:
        end = _end_of_gap(plain - after, plain - before, zone)
        return end, end
    return plain - before, plain - after


def _end_of_gap(low: float, high: float, zone: tzinfo) -> float:
    """Return the instant at which an offset changes, between two that are before and after it."""
    low, high = int(low) - 1, int(high) + 1
    old = _offset(datetime.fromtimestamp(low, zone))
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(datetime.fromtimestamp(middle, zone)) == old:
            low = middle
        else:
            high = middle
    return float(high)


def _offset(at: datetime) -> float:
    offset = at.utcoffset()
    assert offset is not None, "every zone has an offset"
    return offset.total_seconds()
