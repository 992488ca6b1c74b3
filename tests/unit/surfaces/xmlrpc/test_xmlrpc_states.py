from dataclasses import replace

import pytest

from orchestra_supervisor.model.report import ExitReport
from orchestra_supervisor.model.spec import RestartSpec, StartSpec
from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.rules.schedule import Plan
from orchestra_supervisor.rules.service import Run, Service
from orchestra_supervisor.surfaces.xmlrpc.deferred import StartWatch, StopWatch
from orchestra_supervisor.surfaces.xmlrpc.faults import RpcFault
from orchestra_supervisor.surfaces.xmlrpc.names import process_of
from orchestra_supervisor.surfaces.xmlrpc.states import ProcessState, state_of
from tests.unit.surfaces.api_desk import service

SPEC = service("web", start=StartSpec(after=1.0), restart=RestartSpec(policy="never"))
BAD = ExitReport(3, None, 100.0, success=False, text="exit code 3")
GOOD = ExitReport(0, None, 100.0, success=True, text="exit code 0")
NONE = ExitReport(None, None, 100.0, success=False, text="could not start: No such file (exec)")


def at(state: State, **fields: object) -> Service:
    return replace(Service(SPEC, desired=Desired.UP, state=state), **fields)  # type: ignore[arg-type]


def run(number: int = 1) -> Run:
    return Run(f"web-{number:012x}", 0.0, 0.0, pid=7)


@pytest.mark.parametrize(
    ("state", "theirs"),
    [
        (State.STOPPED, "STOPPED"),
        (State.WAITING, "STARTING"),
        (State.STARTING, "STARTING"),
        (State.RUNNING, "RUNNING"),
        (State.READY, "RUNNING"),
        (State.UNHEALTHY, "RUNNING"),
        (State.BACKOFF, "BACKOFF"),
        (State.STOPPING, "STOPPING"),
        (State.COMPLETED, "EXITED"),
        (State.FAILED, "FATAL"),
    ],
)
def test_every_state_has_a_name_of_supervisords(state: State, theirs: str) -> None:
    assert state_of(at(state)).name == theirs


def test_one_that_ran_and_failed_has_exited_unless_policy_gave_up_on_it() -> None:
    assert state_of(at(State.FAILED, exit=BAD)) is ProcessState.EXITED
    assert state_of(at(State.FAILED, exit=BAD, failed_starts=1)) is ProcessState.FATAL
    assert state_of(at(State.FAILED, exit=NONE)) is ProcessState.FATAL
    again = SPEC.model_copy(update={"restart": RestartSpec(policy="always")})
    assert state_of(at(State.FAILED, exit=BAD, spec=again)) is ProcessState.FATAL


def test_a_periodic_service_before_its_first_run_is_stopped() -> None:
    assert state_of(at(State.WAITING, plan=Plan("every 5m", 0.0, 0.0))) is ProcessState.STOPPED


def start_watch(before: str | None = None) -> StartWatch:
    return StartWatch(process_of(SPEC), "web", before)


def test_a_start_is_over_when_its_run_counts_as_started() -> None:
    watch = start_watch()
    assert not watch.look(at(State.WAITING))
    assert not watch.look(at(State.STARTING, run=run()))
    assert watch.look(at(State.READY, run=run()))


def test_the_run_before_is_not_the_one_that_is_waited_for() -> None:
    watch = start_watch(before=run(1).id)
    assert not watch.look(at(State.STOPPING, run=run(1)))
    assert not watch.look(at(State.STARTING, run=run(2), exit=BAD))
    assert watch.look(at(State.READY, run=run(2), exit=BAD))


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        (at(State.BACKOFF, exit=BAD, failed_starts=1), "SPAWN_ERROR: web"),
        (at(State.FAILED, exit=BAD, failed_starts=1), "SPAWN_ERROR: web"),
        (at(State.FAILED, exit=NONE), "SPAWN_ERROR: web"),
        (at(State.STARTING, run=run(2), exit=BAD, failed_starts=1), "SPAWN_ERROR: web"),
        (at(State.STOPPED), "ABNORMAL_TERMINATION: web"),
        (at(State.STOPPING, run=run(1)), "ABNORMAL_TERMINATION: web"),
        (None, "ABNORMAL_TERMINATION: web"),
    ],
)
def test_a_start_that_comes_to_nothing_is_a_fault(after: Service | None, fault: str) -> None:
    watch = start_watch()
    assert not watch.look(at(State.STARTING, run=run(1)))
    with pytest.raises(RpcFault) as raised:
        watch.look(after)
    assert raised.value.text == fault


@pytest.mark.parametrize(
    "after",
    [at(State.COMPLETED, exit=GOOD), at(State.FAILED, exit=BAD), at(State.STARTING, run=run(2), exit=BAD)],
)
def test_one_that_has_run_and_ended_before_anybody_looked_had_started(after: Service) -> None:
    watch = start_watch()
    assert not watch.look(at(State.STARTING, run=run(1)))
    assert watch.look(after)


def test_a_stop_is_over_when_nothing_of_its_run_is_left() -> None:
    watch = StopWatch(process_of(SPEC), run(1).id)
    assert not watch.look(at(State.STOPPING, run=run(1)))
    assert watch.look(at(State.STOPPED))
    assert watch.look(at(State.STARTING, run=run(2)))
    assert watch.look(None)
    assert not StopWatch(process_of(SPEC), None).look(at(State.BACKOFF))
