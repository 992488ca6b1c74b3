"""A run counts as started once it has lasted: what follows before and after that."""

from dataclasses import replace

import pytest

from orchestra_supervisor.model.spec import BackoffSpec, RestartSpec, StartSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.rules.inputs import Due, Respec, SpawnRefused, Start, Stop
from orchestra_supervisor.rules.restart import retry_delay
from orchestra_supervisor.rules.service import Service, from_note, to_note
from tests.unit.rules.stage import Stage, spec_of

AT_ONCE = RestartSpec(
    policy="always",
    max_restarts=None,
    stable_after=0,
    backoff=BackoffSpec(initial=0, jitter=0, first_immediate=True),
)


def stage_of(*, after: float = 5.0, retries: int | None = 2, probed: str = "", **given: object) -> Stage:
    start = StartSpec(after=after, retries=retries)
    return Stage(Service(spec_of(probed=probed, start=start, **{"restart": AT_ONCE, **given})))  # type: ignore[arg-type]


def test_a_run_is_starting_until_it_has_lasted() -> None:
    stage = stage_of().up()
    began = stage.at
    assert (stage.state, stage.service.deadline) == (State.STARTING, began + 5.0 - 1.0)
    stage.play(Due(), after=3.9)
    assert stage.state is State.STARTING
    stage.play(Due(), after=0.2)
    assert (stage.state, stage.service.deadline) == (State.READY, None)


def test_a_run_need_not_last_where_the_time_is_nothing() -> None:
    assert stage_of(after=0.0).up().state is State.READY


@pytest.mark.parametrize("code", [0, 1])
def test_an_end_before_that_is_a_failed_start_whatever_its_code_and_the_policy(code: int) -> None:
    never = RestartSpec(policy="never")
    stage = stage_of(restart=never).up().ends(code)
    assert (stage.state, stage.service.failed_starts) == (State.BACKOFF, 1)
    assert stage.service.reason == f"exit code {code}, before it had lasted 5 s"


def test_each_failed_start_waits_longer_and_the_last_is_the_end() -> None:
    stage = stage_of().up()
    waits = []
    for _ in range(2):
        stage.ends(1)
        deadline = stage.service.deadline
        assert deadline is not None
        waits.append(deadline - stage.at)
        stage.play(Due(), after=waits[-1]).begins()
    stage.ends(1)
    assert waits == [1.0, 2.0]
    assert (stage.state, stage.service.failed_starts) == (State.FAILED, 3)
    assert stage.service.reason == "exit code 1, before it had lasted 5 s; given up after 3 starts"


def test_a_start_that_lasts_forgets_those_that_did_not() -> None:
    stage = stage_of().up().ends(1)
    stage.play(Due(), after=1.0).begins()
    stage.play(Due(), after=5.0)
    assert (stage.state, stage.service.failed_starts) == (State.READY, 0)
    stage.ends(1)  # and now the policy is asked, which restarts at once
    assert (stage.state, stage.service.failed_starts) == (State.STARTING, 0)


def test_a_program_that_cannot_be_spawned_is_a_failed_start_even_where_none_has_to_last() -> None:
    stage = stage_of(after=0.0, retries=0)
    stage.up().play(Due())
    stage.ends(1)
    assert stage.state is State.STARTING  # it had started
    stage.play(SpawnRefused(stage.run, "exec", 2, "no such file"))
    assert (stage.state, stage.service.failed_starts) == (State.FAILED, 1)
    assert stage.service.reason == "could not start: no such file (exec); given up after 1 start"


def test_a_start_by_hand_begins_to_count_anew() -> None:
    stage = stage_of(retries=0).up().ends(1)
    assert (stage.state, stage.service.failed_starts) == (State.FAILED, 1)
    stage.play(Start("asked"))
    assert (stage.state, stage.service.failed_starts) == (State.STARTING, 0)


def test_a_stop_while_it_starts_is_no_failed_start() -> None:
    stage = stage_of().up().play(Stop(DownReason.OPERATOR))
    stage.ends(None, "SIGTERM")
    assert (stage.state, stage.service.failed_starts) == (State.STOPPED, 0)


def test_a_startup_probe_says_it_in_place_of_the_time() -> None:
    stage = stage_of(probed="s").up()
    assert stage.service.started_at is None
    assert stage.play(Due(), after=6.0).state is State.STARTING


def test_a_run_that_has_to_last_no_longer_has_started() -> None:
    stage = stage_of().up()
    spec = stage.service.spec
    stage.play(Respec(spec.model_copy(update={"start": StartSpec(after=50.0)})))
    assert stage.state is State.STARTING
    stage.play(Respec(spec.model_copy(update={"start": None})))
    assert stage.state is State.READY


def test_the_next_daemon_knows_how_many_starts_have_failed() -> None:
    service = stage_of().up().ends(1).service
    note = to_note(service)
    assert from_note(service.spec, note) == replace(service, look=0.0)
    note.pop("failed_starts")  # of a daemon that did not count them
    assert from_note(service.spec, note).failed_starts == 0


def test_starts_without_a_limit_are_tried_for_ever() -> None:
    assert retry_delay(StartSpec(retries=None, delay=0.5), 1_000) == 500.0
    assert retry_delay(StartSpec(retries=3), 3) == 3.0
    assert retry_delay(StartSpec(retries=3), 4) is None
