"""What is due, what was missed, and what a clock that is set does to it."""

from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.rules.schedule import (
    CLOCK_STEP,
    LATE,
    MISSED_LIMIT,
    WATCH,
    Agenda,
    Clocks,
    Plan,
    first_text,
    make_plan,
    next_planned,
    take_up,
)

BERLIN = "Europe/Berlin"
NOON = datetime(2026, 6, 1, 12, tzinfo=ZoneInfo(BERLIN)).timestamp()
HOURLY = ScheduleSpec(cron="0 * * * *", timezone=BERLIN)
EVERY = ScheduleSpec(every=10)
HOUR = 3600.0


def clocks(mono: float, *, step: float = 0.0) -> Clocks:
    """Return an instant so many seconds after noon, by a wall clock that has been set meanwhile."""
    return Clocks(1000.0 + mono, NOON + mono + step)


def look(schedule: ScheduleSpec, plan: Plan, at: float, *, step: float = 0.0) -> Agenda:
    return take_up(schedule, "job", plan, clocks(at, step=step))


def play(schedule: ScheduleSpec, until: float, *, late: float = 0.0) -> list[float]:
    """Return when runs are due after noon, each look made so many seconds too late."""
    plan, at, found = make_plan(schedule, clocks(0)), 0.0, list[float]()
    while at < until:
        agenda = look(schedule, plan, at)
        plan, at = agenda.plan, at + agenda.look_in + late
        found += [one - NOON for one in agenda.due]
    return found


def test_every_counts_from_the_start_and_does_not_drift_when_looks_come_late() -> None:
    assert play(EVERY, 60.0) == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert play(EVERY, 60.0, late=0.75) == [10.0, 20.0, 30.0, 40.0, 50.0]


def test_every_does_not_care_what_the_clock_on_the_wall_is_set_to() -> None:
    plan = make_plan(EVERY, clocks(0))
    for step in (-1e6, 1e6):
        assert look(EVERY, plan, 9.0, step=step).due == ()
        assert look(EVERY, plan, 10.0, step=step).due == (NOON + 10.0 + step,)


def test_a_cron_run_is_due_at_its_time_of_day_and_looked_for_each_minute() -> None:
    plan = make_plan(HOURLY, clocks(0))
    agenda = look(HOURLY, plan, 1.0)
    assert (agenda.due, agenda.look_in) == ((), WATCH)
    agenda = look(HOURLY, agenda.plan, HOUR - 5)
    assert (agenda.due, agenda.look_in) == ((), 5.0)
    agenda = look(HOURLY, agenda.plan, HOUR)
    assert agenda.due == (NOON + HOUR,)
    assert look(HOURLY, agenda.plan, HOUR).due == (), "once"


@pytest.mark.parametrize(
    ("missed", "due"), [("skip", 0), ("once", 1), ("all", 6)], ids=["skip", "once", "all"]
)
def test_what_came_due_while_nobody_looked_is_made_up_for_as_the_schedule_says(missed: str, due: int) -> None:
    schedule = ScheduleSpec.model_validate({**HOURLY.model_dump(), "missed": missed})
    agenda = look(schedule, make_plan(schedule, clocks(0)), 6.5 * HOUR)
    assert len(agenda.due) == due
    assert agenda.missed == (NOON + HOUR, NOON + 6 * HOUR)
    assert agenda.plan.wall == NOON + 6 * HOUR
    assert look(schedule, agenda.plan, 6.5 * HOUR).due == ()
    assert list(agenda.due) == sorted(agenda.due)


@pytest.mark.parametrize("schedule", [HOURLY, ScheduleSpec(every=HOUR)])
def test_a_run_that_is_a_little_late_was_not_missed(schedule: ScheduleSpec) -> None:
    skips = schedule.model_copy(update={"missed": "skip"})
    agenda = look(skips, make_plan(skips, clocks(0)), HOUR + LATE)
    assert (len(agenda.due), agenda.missed) == (1, None)
    agenda = look(skips, make_plan(skips, clocks(0)), HOUR + LATE + 1)
    assert agenda.due == ()
    assert agenda.missed is not None


@pytest.mark.parametrize(
    "schedule", [ScheduleSpec(cron="* * * * *", timezone=BERLIN), ScheduleSpec(every=60)]
)
@pytest.mark.parametrize("missed", ["once", "all", "skip"])
def test_a_year_of_missed_minutes_is_no_storm(schedule: ScheduleSpec, missed: str) -> None:
    schedule = schedule.model_copy(update={"missed": missed})
    year = 365 * 86_400.0
    agenda = look(schedule, make_plan(schedule, clocks(0)), year + 7)
    assert len(agenda.due) == {"once": 1, "all": MISSED_LIMIT, "skip": 1}[missed]
    assert agenda.plan.wall == NOON + year
    assert look(schedule, agenda.plan, year + 8).due == ()


def test_a_clock_that_is_set_forward_makes_up_for_what_it_leapt_over() -> None:
    plan = make_plan(HOURLY, clocks(0))
    agenda = look(HOURLY, plan, 60.0, step=100 * HOUR)
    assert agenda.due == (NOON + 100 * HOUR,)
    assert look(HOURLY, agenda.plan, 120.0, step=100 * HOUR).due == ()


def test_a_clock_that_is_set_back_a_little_repeats_nothing_and_goes_on_when_it_is_past_the_last_run() -> None:
    plan = look(HOURLY, make_plan(HOURLY, clocks(0)), 2 * HOUR).plan
    back = -(CLOCK_STEP - 60)
    due = [minute for minute in range(400) if look(HOURLY, plan, 2 * HOUR + minute * 60, step=back).due]
    assert due[0] == 60 + (CLOCK_STEP - 60) / 60, "the next hour that the clock has not been in"


def test_a_clock_that_is_set_back_far_is_believed_at_once() -> None:
    plan = look(HOURLY, make_plan(HOURLY, clocks(0)), 2 * HOUR).plan
    back = -365 * 86_400.0
    agenda = look(HOURLY, plan, 2 * HOUR + 60, step=back)
    assert agenda.due == (), "nothing at once"
    assert agenda.plan.wall == NOON + 2 * HOUR + 60 + back
    assert look(HOURLY, agenda.plan, 3 * HOUR, step=back).due == (NOON + 3 * HOUR + back,)


def test_jitter_is_the_same_for_an_instant_differs_between_services_and_loses_no_run() -> None:
    spread = ScheduleSpec(every=10, jitter=8)
    plan = make_plan(spread, clocks(0))
    waits = {name: take_up(spread, name, plan, clocks(0)).look_in for name in ("a", "b", "c")}
    assert all(10 <= wait <= 18 for wait in waits.values())
    assert len(set(waits.values())) == 3
    assert waits == {name: take_up(spread, name, plan, clocks(0)).look_in for name in waits}
    assert play(spread, 109.0) == [float(at) for at in range(10, 101, 10)]
    wide = ScheduleSpec(cron="* * * * *", timezone=BERLIN, jitter=600)
    assert play(wide, 3661.0) == [float(at) for at in range(60, 3601, 60)]


def test_another_schedule_begins_with_the_present() -> None:
    plan = make_plan(EVERY, clocks(0))
    hourly = ScheduleSpec(every=5)
    agenda = look(hourly, plan, 100.0)
    assert (agenda.due, agenda.look_in) == ((), 5.0)
    kept = replace(plan, current=7.0, waiting=(8.0,))
    assert look(hourly, kept, 100.0).plan.waiting == (8.0,), "runs that are due stay due"


@pytest.mark.parametrize("schedule", [HOURLY, ScheduleSpec(every=HOUR)])
def test_an_earlier_fleet_says_how_far_it_came(schedule: ScheduleSpec) -> None:
    plan = make_plan(schedule, clocks(0), NOON - 2 * HOUR)
    agenda = look(schedule, plan, 0.0)
    assert agenda.due == (NOON,)
    assert look(schedule, agenda.plan, 1.0).due == ()
    recent = make_plan(schedule, clocks(0), NOON - 60)
    assert len(look(schedule, recent, 0.0).due) == (1 if schedule.cron else 0), "the clock strikes just now"
    skips = schedule.model_copy(update={"missed": "skip"})
    assert look(skips, make_plan(skips, clocks(0), NOON - 2 * HOUR), 0.0).due == ()


@pytest.mark.parametrize("reached", [NOON + 60, NOON + CLOCK_STEP + 60])
def test_an_earlier_fleet_that_was_ahead_of_the_clock_keeps_nothing_silent_for_long(reached: float) -> None:
    plan = make_plan(HOURLY, clocks(0), reached)
    found: list[float] = []
    for minute in range(600):
        agenda = look(HOURLY, plan, minute * 60.0)
        plan = agenda.plan
        found += agenda.due
    assert found
    assert found[0] - NOON <= HOUR
    assert all(other - one == HOUR for one, other in pairwise(found))


def test_the_next_run_is_told_with_its_jitter() -> None:
    assert next_planned(HOURLY, "job", make_plan(HOURLY, clocks(1)), clocks(1)) == NOON + HOUR
    assert next_planned(EVERY, "job", make_plan(EVERY, clocks(1)), clocks(4)) == NOON + 11
    spread = ScheduleSpec(cron="0 * * * *", timezone=BERLIN, jitter=600)
    told = next_planned(spread, "job", make_plan(spread, clocks(1)), clocks(1))
    assert told is not None
    assert HOUR < told - NOON < HOUR + 600


def test_the_first_run_is_told_in_words() -> None:
    assert first_text(HOURLY, make_plan(HOURLY, clocks(1))) == "next run at 2026-06-01 13:00 CEST"
    assert first_text(EVERY, make_plan(EVERY, clocks(1))) == "first run 10 s after the start"
