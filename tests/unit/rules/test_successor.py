"""Which runs are followed without a question, and what becomes of those that did."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    DependencySpec,
    RestartSpec,
    ServiceSpec,
    StartSpec,
)
from orchestra_supervisor.model.states import Condition, DownReason, Kind, State
from orchestra_supervisor.rules.inputs import (
    Dependencies,
    Due,
    Exited,
    Gone,
    Proceed,
    Respec,
    Spawned,
    SpawnRefused,
    Start,
    Stop,
)
from orchestra_supervisor.rules.resume import Held, resume
from orchestra_supervisor.rules.service import Service, to_note
from orchestra_supervisor.rules.successor import Successor, successor_of
from tests.unit.rules.stage import Stage, moment, spec_of

NEXT = "a-00000000beef"
NO_JITTER = BackoffSpec(jitter=0.0)


def ready(spec: ServiceSpec | None = None) -> Stage:
    return Stage(Service(spec or spec_of(restart=RestartSpec(backoff=NO_JITTER)))).up()


def follows(stage: Stage, code: int | None = None, signal: str | None = "SIGSEGV") -> Stage:
    """Let the run end and another follow it by a standing order."""
    run = stage.run
    stage.play(Exited(run, code, signal, stage.at + 1.0, 0.0, 0))
    return stage.play(Gone(run, NEXT), after=0.0)


def successor(service: Service, others: Mapping[str, Service] | None = None) -> Successor | None:
    return successor_of(service, {**(others or {}), service.spec.name: service})


# Who may be followed.


def test_a_daemon_that_runs_is_followed_at_once_after_whatever_end() -> None:
    stage = ready(spec_of(restart=RestartSpec(policy="always", backoff=NO_JITTER)))
    found = successor(stage.service)
    assert found is not None
    assert (found.min_life, found.unless, found.needs) == (0.0, (), ())
    assert found.run.startswith("a-")
    assert len(found.run) == len(stage.run)
    assert found.run != stage.run
    assert found == successor(stage.service)


def test_no_two_runs_have_one_successor() -> None:
    stage = ready()
    first = successor(stage.service)
    second = successor(follows(stage).begins().service)
    assert first is not None
    assert second is not None
    assert first.run != second.run


def test_after_a_crash_it_must_last_before_it_is_followed_again() -> None:
    stage = follows(ready()).begins()
    found = successor(stage.service)
    assert found is not None
    assert found.min_life == stage.service.spec.restart.stable_after


@pytest.mark.parametrize(
    "spec",
    [
        spec_of(restart=RestartSpec(policy="never")),
        spec_of(restart=RestartSpec(backoff=BackoffSpec(first_immediate=False))),
        spec_of(restart=RestartSpec(max_restarts=0)),
        spec_of(kind=Kind.ONCE),
        spec_of(start_on="connection"),
    ],
)
def test_where_policy_wants_no_restart_at_once_nobody_follows(spec: ServiceSpec) -> None:
    service = replace(ready().service, spec=spec)
    assert successor(service) is None


def test_a_periodic_service_is_followed_by_its_schedule_alone() -> None:
    spec = spec_of(schedule=ScheduleSpec.model_validate({"every": 50}))
    assert successor(replace(ready().service, spec=spec)) is None


def test_one_that_does_not_count_as_started_yet_is_followed_by_none() -> None:
    stage = ready(spec_of(start=StartSpec(after=5.0)))
    assert successor(stage.service) is None
    stage.play(Due(), after=6.0)
    assert successor(stage.service) is not None
    assert follows(stage).state is State.STARTING
    assert successor(stage.begins().service) is None


def test_a_success_that_is_wanted_is_followed_by_none() -> None:
    policy = RestartSpec(policy="on-failure", success_exit_codes=(0, 9))
    found = successor(ready(spec_of(restart=policy)).service)
    assert found is not None
    assert found.unless == (0, 9)


def test_the_restart_limit_holds() -> None:
    policy = RestartSpec(backoff=BackoffSpec(initial=0.0), max_restarts=1, window=60.0)
    stage = ready(spec_of(restart=policy))
    assert successor(stage.service) is not None
    assert successor(follows(stage).begins().service) is None


@pytest.mark.parametrize(
    "event",
    [Stop(DownReason.OPERATOR), Stop(DownReason.OPERATOR, after=("above",)), Dependencies((("b", "x"),))],
)
def test_what_is_to_end_or_misses_something_is_followed_by_none(event: Stop | Dependencies) -> None:
    assert successor(ready(spec_of(needs=["b"])).play(event).service) is None


def test_the_runs_that_it_depends_on_are_named() -> None:
    started = DependencySpec(condition=Condition.STARTED)
    spec = spec_of(depends_on={"b": DependencySpec(), "c": started, "job": DependencySpec()})
    above = ready(spec).service
    below = {name: replace(ready(spec_of(name)).service) for name in ("b", "c")}
    job = {"job": Service(spec_of("job", kind=Kind.ONCE), state=State.COMPLETED)}
    found = successor(above, below | job)
    assert found is not None
    assert found.needs == (below["b"].run.id, below["c"].run.id)  # type: ignore[union-attr]  # both are up
    assert successor(above, below) is None  # nothing is known of the job


# What became of those that did.


def test_one_that_followed_is_the_service_s_own() -> None:
    stage = follows(ready())
    assert (stage.run, stage.state, stage.orders) == (NEXT, State.STARTING, ["Took", "Ack"])
    assert stage.service.reason == "restarting after killed by SIGSEGV"
    assert (stage.service.restarts, stage.service.attempts) == (1, 1)
    assert stage.begins().state is State.READY


def test_one_that_could_not_start_is_treated_as_any_other() -> None:
    stage = follows(ready()).play(SpawnRefused(NEXT, "exec", 2, "No such file"))
    assert (stage.state, stage.service.run) == (State.BACKOFF, None)


def test_a_stop_that_crossed_with_it_stops_what_followed() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR))
    follows(stage)
    assert (stage.run, stage.state, stage.orders) == (NEXT, State.STOPPING, ["Took", "StopRun", "Ack"])
    stage.play(Spawned(NEXT, 43, 0.0, 0.0))
    assert stage.ends(None, "SIGTERM").state is State.STOPPED


def test_a_start_that_came_after_that_stop_is_not_lost() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR), Start("by hand"))
    follows(stage)
    assert stage.state is State.STOPPING
    assert stage.ends(None, "SIGTERM").state is State.STARTING


def test_one_that_follows_while_dependents_are_waited_for_leaves_in_its_turn() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR, after=("above",)))
    follows(stage)
    assert stage.service.is_leaving
    stage.begins().play(Proceed())
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.ends(None, "SIGTERM").state is State.STOPPED


def test_one_that_follows_on_top_of_what_is_missing_is_stopped_until_it_is_back() -> None:
    stage = ready(spec_of(needs=["b"])).play(Dependencies((("b", "starting"),)))
    follows(stage)
    assert (stage.run, stage.state, stage.orders) == (NEXT, State.STOPPING, ["Took", "StopRun", "Ack"])
    stage.ends(None, "SIGTERM")
    assert (stage.state, stage.service.reason) == (State.WAITING, "waiting for b (starting)")
    assert stage.play(Dependencies(())).state is State.STARTING


def test_one_that_policy_does_not_want_any_more_is_stopped_for_good() -> None:
    stage = ready()
    never = stage.service.spec.model_copy(update={"restart": RestartSpec(policy="never")})
    follows(stage.play(Respec(never)))
    assert stage.state is State.STOPPING
    assert stage.ends(None, "SIGTERM").state is State.FAILED


# The next daemon.


def told(run: str, *more: Exited | Gone) -> tuple[Spawned | Exited | Gone, ...]:
    return (Spawned(run, 42, 0.0, 0.0), *more)


def test_the_next_daemon_takes_over_what_followed_meanwhile() -> None:
    stage = ready()
    ended = told(stage.run, Exited(stage.run, 1, None, 5.0, 0.0, 0), Gone(stage.run, NEXT))
    held = (Held(stage.run, False, ended), Held(NEXT, False, told(NEXT)))
    resumed = resume(stage.service.spec, to_note(stage.service), held, moment(9.0))
    assert resumed is not None
    assert resumed.effects == ()
    heir = Stage(resumed.service, at=9.0).play(*resumed.inputs, after=0.0)
    assert (heir.run, heir.state, heir.service.restarts) == (NEXT, State.READY, 1)


def test_of_one_that_followed_and_never_began_nothing_is_expected() -> None:
    stage = ready()
    ended = told(stage.run, Exited(stage.run, 1, None, 5.0, 0.0, 0), Gone(stage.run, NEXT))
    resumed = resume(
        stage.service.spec, to_note(stage.service), (Held(stage.run, False, ended),), moment(9.0)
    )
    assert resumed is not None
    heir = Stage(resumed.service, at=9.0).play(*resumed.inputs, after=0.0)
    assert heir.state is State.STARTING
    assert heir.run != NEXT
    assert heir.spawned == [heir.run]
