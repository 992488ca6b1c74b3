import pytest

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Desired, Kind, State
from orchestra_supervisor.rules.fleet import STEADY, failed_required, steady_at, still_up, unsettled
from orchestra_supervisor.rules.service import Ending, Run, Service, Then
from tests.unit.rules.stage import spec_of

RUN = Run("a-000000000000", 0.0, 0.0, pid=1)
WITH_RUN = {State.STARTING, State.RUNNING, State.READY, State.UNHEALTHY, State.STOPPING}


def one(state: State, desired: Desired = Desired.UP, **fields: object) -> Service:
    run = RUN if state in WITH_RUN else None
    return Service(spec_of(), state=state, desired=desired, run=run, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", list(State))
def test_a_wanted_service_is_settled_when_it_moves_no_further_by_itself(state: State) -> None:
    settled = {State.STOPPED, State.READY, State.UNHEALTHY, State.COMPLETED, State.FAILED}
    assert unsettled({"a": one(state)}, 0.0) == ([] if state in settled else ["a"])


@pytest.mark.parametrize("state", list(State))
def test_a_service_that_is_not_wanted_is_waited_for_by_nobody(state: State) -> None:
    assert unsettled({"a": one(state, Desired.DOWN)}, 0.0) == []


def test_a_once_service_that_runs_is_not_settled() -> None:
    running = Service(spec_of(kind=Kind.ONCE), state=State.RUNNING, desired=Desired.UP, run=RUN)
    assert unsettled({"a": running}, 0.0) == ["a"]


@pytest.mark.parametrize(
    ("dependency", "is_blocked"),
    [
        (one(State.FAILED), True),
        (one(State.STOPPED, Desired.DOWN), True),
        (one(State.COMPLETED), True),
        (one(State.BACKOFF), False),
        (one(State.STARTING), False),
        (one(State.STOPPING, ending=Ending(Then.AGAIN, "")), False),
        (one(State.WAITING), False),
    ],
)
def test_one_that_waits_for_a_dead_end_is_blocked_and_so_settled(
    dependency: Service, is_blocked: bool
) -> None:
    waiting = one(State.WAITING, unmet=(("dep", "x"),))
    assert ("a" not in unsettled({"dep": dependency, "a": waiting}, 0.0)) is is_blocked


def test_being_blocked_is_handed_up_a_chain() -> None:
    services = {
        "c": one(State.WAITING, unmet=(("b", "waiting"),)),
        "b": one(State.WAITING, unmet=(("a", "failed"),)),
        "a": one(State.FAILED),
    }
    assert unsettled(services, 0.0) == []


def test_a_dependency_that_is_not_there_blocks() -> None:
    assert unsettled({"a": one(State.WAITING, unmet=(("ghost", "unknown"),))}, 0.0) == []


def test_a_required_service_has_failed_when_it_cannot_come_up_by_itself() -> None:
    required = spec_of("r").model_copy(update={"required_for_system": True})

    def failed(state: State, **fields: object) -> list[str]:
        service = Service(required, state=state, desired=Desired.UP, **fields)  # type: ignore[arg-type]
        return failed_required({"r": service, "dep": one(State.FAILED)})

    assert failed(State.FAILED) == ["r"]
    assert failed(State.WAITING, unmet=(("dep", "failed"),)) == ["r"]
    assert failed(State.WAITING) == []
    assert failed(State.BACKOFF) == []
    assert failed_required({"dep": one(State.FAILED)}) == []


def test_still_up_is_whatever_runs_or_is_wanted() -> None:
    services = {
        "runs": one(State.STOPPING, Desired.DOWN),
        "wanted": one(State.BACKOFF),
        "down": one(State.STOPPED, Desired.DOWN),
    }
    assert still_up(services) == ["runs", "wanted"]


def _required(probed: str = "") -> ServiceSpec:
    return spec_of(probed=probed).model_copy(update={"required_for_system": True})


def test_a_required_service_that_shows_nothing_has_to_live_a_while() -> None:
    young = Service(_required(), state=State.READY, desired=Desired.UP, run=RUN)
    assert steady_at(young) == STEADY
    assert unsettled({"a": young}, STEADY / 2) == ["a"]
    assert unsettled({"a": young}, STEADY) == []


def test_a_required_service_with_a_probe_has_shown_enough() -> None:
    spec = _required("r")
    assert unsettled({"a": Service(spec, state=State.READY, desired=Desired.UP, run=RUN)}, 0.0) == []


def test_a_service_that_is_not_required_counts_at_once() -> None:
    assert steady_at(one(State.READY)) is None
