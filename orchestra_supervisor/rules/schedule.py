"""When the runs of a periodic service are due, and what becomes of those that nobody could begin.

A schedule names planned instants: of monotonic time (`every`) or of wall time (`cron`). A plan
remembers up to which instant they have been dealt with, on both clocks; that alone decides what is
due, so a daemon that dies neither loses a run nor doubles one. `take_up` deals with what has come due.

Wall time decides here, and nowhere else (ADR-0010). A clock that is set is told from time that passes
by nothing, so it must do no harm:

* forward: what was planned in between counts as missed, as it would after a downtime; one look makes up
  for it within a bound, never in a storm;
* back by no more than `CLOCK_STEP`: what has run does not run again, and the clock is waited for;
* back by more: the plan goes on from what the clock says now, lest a year be silent.

Time that is only waited for is looked at every `WATCH` seconds, so a step is noticed by then.
"""

import hashlib
from dataclasses import dataclass, replace

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.rules.cron import instant_text, next_instant

__all__ = [
    "CLOCK_STEP",
    "LATE",
    "MISSED_LIMIT",
    "WATCH",
    "Agenda",
    "Clocks",
    "Plan",
    "first_text",
    "make_plan",
    "next_planned",
    "next_time_of_day",
    "take_up",
]

WATCH = 60.0
"""Seconds between looks at wall time while a cron run is waited for: a clock that was set is seen by then."""
LATE = 60.0
"""Seconds after which a run that has not begun was missed."""
CLOCK_STEP = 10_800.0
"""Seconds by which a clock may go back, set by hand in a night of change, and what has run still has run."""
MISSED_LIMIT = 100
"""Missed runs that are made up for at most, with `missed: all`."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """One instant on both clocks."""

    mono: float
    wall: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How far a service has come with its schedule.

    Attributes:
        words: The schedule that it was made for; under another one it begins anew.
        mono: Every planned instant up to here has been dealt with, on the monotonic clock;
        wall: and on the wall clock.
        current: The planned wall instant of the run that is in the works, from when it is due until
            policy is through with it; None: none is.
        waiting: Planned wall instants of runs that are due and not begun, in order.
    """

    words: str
    mono: float
    wall: float
    current: float | None = None
    waiting: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Agenda:
    """What one look at a schedule finds.

    Attributes:
        plan: The plan from here on.
        due: Planned wall instants of the runs to begin, in order.
        look_in: Seconds until the next look.
        missed: Wall instants of the first and the last run that came due too late to begin in time, or None.
    """

    plan: Plan
    due: tuple[float, ...]
    look_in: float
    missed: tuple[float, float] | None = None


def _words(schedule: ScheduleSpec) -> str:
    return f"every {schedule.every!r} s" if schedule.every else f"{schedule.cron} {schedule.timezone}"


def make_plan(schedule: ScheduleSpec, now: Clocks, reached_wall: float | None = None) -> Plan:
    """Return the plan of a service that begins with its schedule now.

    Args:
        schedule: What it goes by.
        now: The present instant.
        reached_wall: Wall instant up to which an earlier fleet had dealt with it, if any.
    """
    plan = Plan(_words(schedule), now.mono, now.wall)
    if reached_wall is None or schedule.missed == "skip":
        return plan
    # An instant ahead of the clock stays: the clock went back, and `take_up` knows what to make of that.
    return replace(plan, mono=now.mono - max(0.0, now.wall - reached_wall), wall=reached_wall)


def next_time_of_day(cron: str, timezone: str, now: Clocks) -> float | None:
    """Return the monotonic instant of the next time of day that a cron expression names, as clocks go now."""
    following = next_instant(cron, timezone, now.wall)
    return None if following is None else now.mono + (following - now.wall)


def first_text(schedule: ScheduleSpec, plan: Plan) -> str:
    """Say when the first run is planned."""
    if schedule.every:
        return f"first run {schedule.every:.10g} s after the start"
    following = _following(schedule, plan.wall)
    if following is None:
        return "no run is planned"
    return f"next run at {instant_text(schedule.timezone, following)}"


def next_planned(schedule: ScheduleSpec, name: str, plan: Plan, now: Clocks) -> float | None:
    """Return the wall instant at which the next run is due, its jitter included, or None.

    Args:
        schedule: What it goes by.
        name: Of the service; services with one schedule differ in their jitter.
        plan: How far it has come.
        now: The present instant.
    """
    plan = _fitted(schedule, plan, now)
    following = _following(schedule, _reached(schedule, plan))
    if following is None:
        return None
    return _to_wall(schedule, _due_at(schedule, name, following), now)


def take_up(schedule: ScheduleSpec, name: str, plan: Plan, now: Clocks) -> Agenda:
    """Deal with every planned instant that has come due.

    Args:
        schedule: What it goes by.
        name: Of the service; services with one schedule differ in their jitter.
        plan: How far it has come.
        now: The present instant.
    """
    plan = _fitted(schedule, plan, now)
    at = now.mono if schedule.every else now.wall
    first = _following(schedule, _reached(schedule, plan))
    if first is None or _due_at(schedule, name, first) > at:
        return Agenda(plan, (), _look_in(schedule, name, first, at))
    last = _last_due(schedule, name, first, at)
    is_late = at - _due_at(schedule, name, last) > LATE
    chosen: tuple[float, ...] = (last,)
    if schedule.missed == "all":
        chosen = _every_due(schedule, first, last)
    elif schedule.missed == "skip" and is_late:
        chosen = ()
    due = tuple(_to_wall(schedule, one, now) for one in chosen)
    missed = None
    if last != first or is_late:
        missed = (_to_wall(schedule, first, now), _to_wall(schedule, last, now))
    plan = _moved(schedule, plan, last, now)
    return Agenda(plan, due, _look_in(schedule, name, _following(schedule, last), at), missed)


# The clock that a schedule goes by.


def _reached(schedule: ScheduleSpec, plan: Plan) -> float:
    return plan.mono if schedule.every else plan.wall


def _fitted(schedule: ScheduleSpec, plan: Plan, now: Clocks) -> Plan:
    """Return the plan, begun anew where it is for another schedule or the clock was set far back."""
    is_ahead = plan.wall - now.wall > CLOCK_STEP if schedule.every is None else plan.mono > now.mono
    if plan.words == _words(schedule) and not is_ahead:
        return plan
    return replace(plan, words=_words(schedule), mono=now.mono, wall=now.wall)


def _moved(schedule: ScheduleSpec, plan: Plan, reached: float, now: Clocks) -> Plan:
    """Return the plan with an instant of the schedule's own clock as the last one dealt with."""
    wall = _to_wall(schedule, reached, now)
    return replace(plan, mono=reached if schedule.every else now.mono, wall=wall)


def _to_wall(schedule: ScheduleSpec, at: float, now: Clocks) -> float:
    return now.wall - (now.mono - at) if schedule.every else at


def _following(schedule: ScheduleSpec, at: float) -> float | None:
    """Return the first planned instant after another one, on the schedule's own clock."""
    if schedule.every:
        return at + schedule.every
    return next_instant(schedule.cron or "", schedule.timezone, at)


def _due_at(schedule: ScheduleSpec, name: str, planned: float) -> float:
    """Return when a planned run is due: its instant, and a share of the jitter that is always the same.

    The jitter ends with the next planned instant, so that runs are due in their order.
    """
    if not schedule.jitter:
        return planned
    following = _following(schedule, planned)
    jitter = schedule.jitter if following is None else min(schedule.jitter, following - planned)
    digest = hashlib.sha256(f"{name} {planned!r}".encode()).digest()
    return planned + jitter * int.from_bytes(digest[:4], "big") / 2**32


def _look_in(schedule: ScheduleSpec, name: str, planned: float | None, at: float) -> float:
    """Return seconds until the next look."""
    if planned is None:
        return WATCH
    rest = max(0.001, _due_at(schedule, name, planned) - at)
    return rest if schedule.every else min(rest, WATCH)


# What has come due.


def _every_due(schedule: ScheduleSpec, first: float, last: float) -> tuple[float, ...]:
    """Return the planned instants from one to another, the earliest `MISSED_LIMIT` of them."""
    found: list[float] = []
    following: float | None = first
    while following is not None and following <= last and len(found) < MISSED_LIMIT:
        found.append(following)
        following = _following(schedule, following)
    return tuple(found)


def _last_due(schedule: ScheduleSpec, name: str, first: float, at: float) -> float:
    """Return the last planned instant that is due; the first one is."""
    last = _last_before(schedule, first, at - schedule.jitter)
    # Within the span of the jitter some are due and some are not yet; they are dealt with in order.
    while (following := _following(schedule, last)) is not None:
        if _due_at(schedule, name, following) > at:
            break
        last = following
    return last


def _last_before(schedule: ScheduleSpec, first: float, limit: float) -> float:
    """Return the last planned instant up to a limit, at least the first; a year takes 25 steps."""
    if schedule.every:
        return first + schedule.every * max(0.0, (limit - first) // schedule.every)
    low, high = first, limit
    if low >= high:
        return first
    # What follows `low` is within the limit, what follows `high` is not; planned instants are whole seconds.
    following = _following(schedule, low)
    if following is None or following > limit:
        return first
    while high - low > 1:
        middle = (low + high) / 2
        candidate = _following(schedule, middle)
        if candidate is not None and candidate <= limit:
            low, following = middle, candidate
        else:
            high = middle
    return following
