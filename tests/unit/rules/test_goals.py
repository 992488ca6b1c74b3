from dataclasses import replace

import pytest

from orchestra_supervisor.model.report import RunReport
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.rules.goals import has_run, is_completed, is_down, is_ready
from orchestra_supervisor.rules.schedule import Plan
from orchestra_supervisor.rules.service import Run, Service
from tests.unit.rules.stage import spec_of

WELL = RunReport(0.0, 0.0, 1.0, 1.0, success=True, text="exit code 0")


def one(state: State, *, kind: Kind = Kind.DAEMON) -> Service:
    return Service(spec_of(kind=kind), state=state, desired=Desired.UP)


def job(state: State, *, current: float | None = None, waiting: tuple[float, ...] = ()) -> Service:
    plan = Plan("every 60 s", 0.0, 0.0, current, waiting)
    return Service(spec_of(schedule=ScheduleSpec(every=60)), state=state, desired=Desired.UP, plan=plan)


def test_ready_is_reached_by_what_is_up_or_done_and_never_by_what_failed_or_is_held_down() -> None:
    assert is_ready(one(State.READY)) is True
    assert is_ready(one(State.COMPLETED)) is True
    assert is_ready(one(State.RUNNING)) is None
    assert is_ready(one(State.FAILED)) is False
    held = replace(one(State.STOPPED), desired=Desired.DOWN, down_reason=DownReason.OPERATOR)
    assert is_ready(held) is False


@pytest.mark.parametrize("state", [State.WAITING, State.COMPLETED, State.FAILED])
def test_a_periodic_service_is_ready_when_it_goes_by_its_schedule(state: State) -> None:
    assert is_ready(job(state)) is True
    assert (
        is_ready(replace(job(State.STOPPED), desired=Desired.DOWN, down_reason=DownReason.OPERATOR)) is False
    )


def test_down_means_that_nothing_is_left() -> None:
    assert is_down(one(State.STOPPED)) is True
    assert is_down(one(State.WAITING)) is None
    assert is_down(replace(one(State.STOPPING), run=Run("a-0", 0.0, 0.0))) is None


def test_completed_is_not_reached_by_what_failed() -> None:
    assert [is_completed(one(state)) for state in (State.COMPLETED, State.FAILED, State.RUNNING)] == [
        True,
        False,
        None,
    ]


def test_a_run_that_was_asked_for_is_over_when_nothing_due_until_then_is_left() -> None:
    goal = has_run(100.0)
    assert goal(job(State.RUNNING, current=100.0)) is None
    assert goal(job(State.RUNNING, current=40.0, waiting=(100.0,))) is None
    assert goal(replace(job(State.COMPLETED), last=WELL)) is True
    assert goal(replace(job(State.RUNNING, current=160.0), last=WELL)) is True, "that is a later one"
    assert goal(replace(job(State.FAILED), last=replace(WELL, success=False))) is False
    assert goal(replace(job(State.STOPPED), desired=Desired.DOWN)) is False
    assert goal(one(State.COMPLETED, kind=Kind.ONCE)) is True
