"""Who has a turn, who waits for it, and when a roll stops."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.model.spec import RestartSpec, StopSpec, StopStep
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.rules.rolling import (
    Advance,
    Roll,
    Turn,
    advance,
    is_available,
    patience_of,
    roll_from_note,
    roll_to_note,
)
from orchestra_supervisor.rules.service import Ending, Run, Service, Then
from tests.unit.rules.stage import spec_of

NAMES = ("web@1", "web@2", "web@3")
ROLL = Roll("web", "rolling restart", 1, NAMES)


def ready(name: str, run: str = "old", *, since: float = 0.0, probed: str = "r") -> Service:
    spec = spec_of(name, probed=probed)
    here = Run(f"{name}-{run}", since, 0.0, pid=1, was_ready=True)
    return Service(spec, state=State.READY, desired=Desired.UP, run=here)


def services(*others: Service) -> dict[str, Service]:
    return {name: ready(name) for name in NAMES} | {one.spec.name: one for one in others}


def sick(name: str, state: State = State.UNHEALTHY, run: str = "old") -> Service:
    return replace(ready(name, run), state=state, reason="is not well")


def crashed(name: str, state: State = State.BACKOFF) -> Service:
    return replace(ready(name), state=state, run=None, reason="exit code 1")


def go(roll: Roll, *others: Service, now: float = 100.0) -> Advance:
    return advance(roll, services(*others), NAMES, now)


def test_the_first_turn_is_that_of_the_lowest_number_alone() -> None:
    result = go(ROLL)
    assert result.restarts == ("web@1",)
    assert result.roll.todo == ("web@2", "web@3")
    (turn,) = result.roll.turns
    assert (turn.name, turn.before, turn.deadline) == ("web@1", "web@1-old", 170.0)


def test_the_next_has_its_turn_when_the_last_is_ready_with_another_run() -> None:
    roll = go(ROLL).roll
    leaving = replace(ready("web@1"), ending=Ending(Then.AGAIN, "restarting"))
    for at_work in (
        leaving,
        sick("web@1", State.STOPPING),
        sick("web@1", State.RUNNING, "new"),
        crashed("web@1"),
    ):
        assert go(roll, at_work).restarts == ()
    result = go(roll, ready("web@1", "new"))
    assert result.restarts == ("web@2",)
    assert result.roll.done == ("web@1",)


def test_a_roll_is_over_when_all_are_through() -> None:
    roll = replace(
        ROLL, todo=(), done=("web@1", "web@2"), turns=(Turn("web@3", "web@3-old", 200, 70, is_ordered=True),)
    )
    result = go(roll, ready("web@3", "new"))
    assert result.roll.is_over
    assert not result.roll.failed
    assert result.roll.done == NAMES
    assert result.look_at is None


def test_several_go_at_once_where_that_is_said() -> None:
    result = go(replace(ROLL, batch=2))
    assert result.restarts == ("web@1", "web@2")
    assert go(replace(ROLL, batch=9)).restarts == NAMES


def test_whoever_is_not_ready_anyway_goes_first_and_counts() -> None:
    result = go(ROLL, crashed("web@2"))
    assert result.restarts == ("web@2",)
    result = go(replace(ROLL, batch=2), sick("web@3"))
    assert result.restarts == ("web@3", "web@1")


def test_nobody_goes_while_somebody_else_is_away_and_that_ends() -> None:
    roll = replace(ROLL, todo=("web@2", "web@3"))
    result = go(roll, sick("web@1"))
    assert result.restarts == ()
    assert result.roll.waits_until == 170.0 == result.look_at
    assert go(result.roll, sick("web@1"), now=169.0).roll == result.roll
    assert go(result.roll, now=169.0).restarts == ("web@2",), "it is back"
    late = go(result.roll, sick("web@1"), now=170.0).roll
    assert (late.failed, late.is_over) == ("web@1", True)
    assert "no other may be away" in late.words


def test_a_roll_stops_when_one_does_not_become_ready_in_time_or_has_failed() -> None:
    roll = go(ROLL).roll
    waiting = replace(sick("web@1", State.RUNNING, "new"), probe_error="connection refused")
    assert go(roll, waiting, now=169.9).roll == roll
    late = go(roll, waiting, now=170.0)
    assert (late.restarts, late.roll.failed, late.roll.todo) == ((), "web@1", ("web@2", "web@3"))
    assert late.roll.words == "not ready within 70 s: connection refused"
    left = "left as they are: web@2, web@3"
    assert late.roll.text == f"rolling restart stopped at web@1: {late.roll.words}; {left}"
    assert go(roll, crashed("web@1", State.FAILED)).roll.words == "exit code 1"


def test_those_who_are_down_or_gone_are_passed_over() -> None:
    down = replace(
        ready("web@1"), desired=Desired.DOWN, down_reason=DownReason.OPERATOR, state=State.STOPPED, run=None
    )
    result = go(ROLL, down)
    assert result.restarts == ("web@2",)
    assert result.roll.todo == ("web@3",)
    assert go(go(ROLL).roll, down).restarts == ("web@2",), "also one that is stopped in its turn"
    known = services()
    del known["web@1"]
    assert advance(go(ROLL).roll, known, NAMES, 100.0).restarts == ("web@2",)


def test_one_that_shows_nothing_has_to_live_for_a_second_at_most() -> None:
    roll = go(ROLL).roll
    bare = ready("web@1", "new", since=100.0, probed="")
    result = go(roll, bare, now=100.5)
    assert (result.restarts, result.look_at) == ((), 101.0)
    assert go(roll, bare, now=101.0).restarts == ("web@2",)
    hasty = replace(bare, spec=bare.spec.model_copy(update={"restart": RestartSpec(stable_after=0.2)}))
    assert is_available(hasty, 100.2)
    assert not is_available(hasty, 100.1)


def test_one_that_says_itself_that_it_is_ready_is_believed_at_once() -> None:
    service = ready("web@1", "new", since=100.0, probed="")
    assert not is_available(service, 100.0)
    spec = service.spec.model_copy(update={"notify": True})
    assert is_available(replace(service, spec=spec), 100.0)


def test_a_once_job_is_through_when_it_has_completed_again() -> None:
    job = Service(spec_of("web@1", kind=Kind.ONCE), state=State.COMPLETED, desired=Desired.UP)
    roll = Roll("web", "x", 1, (), (Turn("web@1", "", 200.0, 70.0, is_ordered=True),))
    assert go(roll, job).roll.done == ("web@1",)


def test_patience_is_the_time_of_the_stop_and_of_the_start() -> None:
    spec = spec_of().model_copy(update={"stop": StopSpec(steps=(StopStep(wait=2), StopStep(wait=3)))})
    assert patience_of(spec) == 65.0
    assert patience_of(spec.model_copy(update={"startup_timeout": 0.0})) == 65.0
    assert patience_of(spec.model_copy(update={"startup_timeout": 1.0})) == 6.0


# The next daemon.


def resumed(roll: Roll) -> Roll:
    again = roll_from_note(roll_to_note(roll))
    assert again is not None
    return again


def test_the_next_daemon_orders_what_shows_no_sign_of_having_been_ordered() -> None:
    roll = resumed(go(ROLL).roll)
    assert go(roll).restarts == ("web@1",)
    assert go(roll, crashed("web@1", State.FAILED)).restarts == ("web@1",)


@pytest.mark.parametrize(
    "service",
    [
        replace(ready("web@1"), ending=Ending(Then.AGAIN, "restarting")),
        sick("web@1", State.RUNNING, "new"),
        sick("web@1", State.STARTING, "new"),
    ],
)
def test_the_next_daemon_orders_nothing_twice(service: Service) -> None:
    assert go(resumed(go(ROLL).roll), service).restarts == ()


@pytest.mark.parametrize("note", [None, 5, [], {}, {"group": "web"}, roll_to_note(ROLL) | {"turns": [1]}])
def test_a_note_that_cannot_be_read_counts_as_none(note: object) -> None:
    assert roll_from_note(note) is None


@given(
    st.lists(st.sampled_from(["well", "sick", "crashed", "down", "new"]), min_size=3, max_size=3),
    st.integers(1, 3),
    st.booleans(),
)
def test_a_roll_never_sends_more_away_than_was_said(kinds: list[str], batch: int, is_first: bool) -> None:
    make = {
        "well": ready,
        "sick": sick,
        "crashed": crashed,
        "down": lambda name: replace(ready(name), desired=Desired.DOWN),
        "new": lambda name: ready(name, "new"),
    }
    standing = {name: make[kind](name) for name, kind in zip(NAMES, kinds, strict=True)}
    roll = replace(ROLL, batch=batch) if is_first else replace(go(replace(ROLL, batch=batch)).roll)
    result = advance(roll, standing, NAMES, 100.0)
    wanted = {name for name, one in standing.items() if one.desired is Desired.UP}
    away = {name for name in wanted if not is_available(standing[name], 100.0)}
    well = {name for name in result.restarts if name not in away}
    assert not well or len(away | set(result.restarts)) <= batch
    assert set(result.restarts) <= wanted
    assert len(result.roll.turns) <= batch
