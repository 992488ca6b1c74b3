"""The timer of a periodic service.

Source: systemd.timer(5); systemd.time(7), "Calendar events"; crontab(5) for what the fields mean.
"""

from collections.abc import Callable

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.systemd.syntax import UnitText, seconds

__all__ = ["add_timer", "calendar_events"]

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def add_timer(unit: UnitText, schedule: ScheduleSpec, lose: Callable[[str], None]) -> None:
    """Add the section of a timer."""
    unit.section("Timer")
    if schedule.every is not None:
        first = "1ms" if schedule.on_start else seconds(schedule.every)
        unit.set("OnActiveSec", first)
        unit.set("OnUnitActiveSec", seconds(schedule.every))
    if schedule.cron is not None:
        if schedule.on_start:
            unit.set("OnActiveSec", "1ms")
        _add_calendar(unit, schedule, lose)
    unit.set("AccuracySec", "1s", "systemd's own minute of leeway is for the battery of a laptop.")
    if schedule.jitter:
        unit.set("RandomizedDelaySec", seconds(schedule.jitter))
        unit.set("FixedRandomDelay", "yes")
    if schedule.overlap != "skip":
        lose(f"overlap {schedule.overlap}: a run that is due while another runs is left out")
    if schedule.missed == "all":
        lose("missed all: of several runs that were missed one is made up for")


def _add_calendar(unit: UnitText, schedule: ScheduleSpec, lose: Callable[[str], None]) -> None:
    assert schedule.cron is not None, "callers look first"
    try:
        events = calendar_events(schedule.cron)
    except ValueError as error:
        lose(f"cron {schedule.cron!r} has no counterpart ({error}): it is never due")
        return
    for event in events:
        unit.set("OnCalendar", f"{event} {schedule.timezone}")
    unit.set("Persistent", "no" if schedule.missed == "skip" else "yes")


def calendar_events(cron: str) -> list[str]:
    """Return the calendar events that mean the same as a cron expression.

    Where day of month and day of week are both given, cron means either: that takes two events.

    Raises:
        ValueError: Something in it has no counterpart.
    """
    minute, hour, day, month, weekday = cron.split()
    clock = f"{_numbers(hour, 0, 23)}:{_numbers(minute, 0, 59)}:00"
    months = _numbers(month, 1, 12, _MONTHS)
    by_day = f"*-{months}~01" if day.upper() == "L" else f"*-{months}-{_numbers(day, 1, 31)}"
    by_weekday = _weekdays(weekday)
    if not by_weekday:
        return [f"{by_day} {clock}"]
    if day.startswith("*") or weekday.startswith("*"):
        return [f"{by_weekday} {by_day} {clock}"]
    return [f"{by_day} {clock}", f"{by_weekday} *-{months}-* {clock}"]


def _numbers(field: str, lowest: int, highest: int, names: tuple[str, ...] = ()) -> str:
    """Return a field as a list of numbers and ranges; `*` for all."""
    if field == "*":
        return "*"
    parts: list[str] = []
    for item in field.split(","):
        first, last, step = _range(item, lowest, highest, names)
        parts.append(str(first) if first == last else f"{first}..{last}" + (f"/{step}" if step > 1 else ""))
    return ",".join(parts)


def _weekdays(field: str) -> str:
    """Return a field as names of days; empty for all."""
    days: set[int] = set()
    for item in field.split(","):
        first, last, step = _range(item, 0, 7, _DAYS)
        days |= {day % 7 for day in range(first, min(last, 6 if item.startswith("*") else 7) + 1, step)}
    return "" if len(days) == 7 else ",".join(_DAYS[day].capitalize() for day in sorted(days))


def _range(item: str, lowest: int, highest: int, names: tuple[str, ...]) -> tuple[int, int, int]:
    base, _, stride = item.partition("/")
    step = int(stride) if stride else 1
    if base == "*":
        return lowest, highest, step
    start, dash, end = base.partition("-")
    first = _number(start, names)
    last = _number(end, names) if dash else highest if stride else first
    if not lowest <= first <= last <= highest or step < 1:
        msg = f"{item} is out of range"
        raise ValueError(msg)
    return first, last, step


def _number(text: str, names: tuple[str, ...]) -> int:
    if text.upper() in names[1:] or (names and text.upper() == names[0] != ""):
        return names.index(text.upper())
    if not (text.isascii() and text.isdigit()):
        msg = f"{text!r} is no number"
        raise ValueError(msg)
    return int(text)
