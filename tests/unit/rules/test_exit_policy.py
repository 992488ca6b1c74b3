"""When a fleet ends by itself, and with which status."""

import pytest

from orchestra_supervisor.model.exit_policy import ExitPolicySpec
from orchestra_supervisor.model.replicas import ReplicaSpec
from orchestra_supervisor.model.report import ExitReport
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.model.supervisord import SupervisorName
from orchestra_supervisor.rules.exit_policy import FleetExit, exit_of, may_end
from orchestra_supervisor.rules.service import Service
from tests.unit.rules.stage import spec_of


def one(
    name: str,
    state: State,
    *,
    code: int | None = None,
    killed: str | None = None,
    desired: Desired = Desired.UP,
    **spec: object,
) -> Service:
    last = ExitReport(code, killed, 0.0, code == 0, "text")
    ended = last if code is not None or killed is not None else None
    return Service(spec_of(name, **spec), state=state, desired=desired, reason="why", exit=ended)  # type: ignore[arg-type]


def decide(policy: ExitPolicySpec, *services: Service, is_starting: bool = False) -> FleetExit | None:
    named = {service.spec.name: service for service in services}
    found = exit_of(policy, named, is_starting=is_starting)
    if found is not None and not found.why.startswith("nothing"):
        assert any(may_end(policy, service, is_starting=is_starting) for service in services)
    return found


@pytest.mark.parametrize(
    ("service", "status"),
    [
        (one("a", State.COMPLETED, code=0), 0),
        (one("a", State.FAILED, code=7), 7),
        (one("a", State.COMPLETED, code=2), 2),  # a success by success_exit_codes is told as it is
        (one("a", State.FAILED, code=0), 1),  # failed for another reason than its exit code
        (one("a", State.FAILED, killed="SIGKILL"), 137),
        (one("a", State.FAILED, killed="SIGFUTURE"), 1),
        (one("a", State.FAILED), 1),
    ],
)
def test_the_end_of_a_service_that_counts_has_its_status(service, status):
    found = decide(ExitPolicySpec(ends=("a",)), service, one("b", State.READY))
    assert found == FleetExit(status, "a has ended: why", is_failure=status != 0)


@pytest.mark.parametrize(
    "service",
    [
        one("a", State.READY),
        one("a", State.BACKOFF, code=1),
        one("a", State.STOPPED, code=1, desired=Desired.DOWN),
        one("a", State.STOPPING),
        one("a", State.COMPLETED, code=0, schedule=ScheduleSpec(every=60)),
        one("b", State.FAILED, code=1),
    ],
)
def test_what_goes_on_or_does_not_count_ends_nothing(service):
    assert decide(ExitPolicySpec(ends=("a",)), service) is None


def test_a_group_counts_with_each_of_its_replicas():
    replica = ReplicaSpec(group="web", number=2, count=2)
    found = decide(ExitPolicySpec(ends=("web",)), one("web@2", State.FAILED, code=4, replica=replica))
    assert found == FleetExit(4, "web@2 has ended: why", is_failure=True)


def test_a_required_service_that_fails_ends_a_fleet_that_starts_and_others_where_that_is_wanted():
    failed = one("db", State.FAILED, code=1, required_for_system=True)
    assert decide(ExitPolicySpec(), failed) is None
    found = decide(ExitPolicySpec(), failed, is_starting=True)
    assert found == FleetExit(1, "required services cannot start: db: why", is_failure=True)
    found = decide(ExitPolicySpec(required_fails=True), failed)
    assert found == FleetExit(1, "required services have failed: db: why", is_failure=True)


def test_a_fleet_is_through_when_nothing_is_left_to_run():
    policy = ExitPolicySpec(all_ended=True)
    done, failed = one("a", State.COMPLETED, code=0), one("b", State.FAILED, code=3)
    off = one("c", State.STOPPED, desired=Desired.DOWN)
    assert decide(policy, done, off) == FleetExit(0, "nothing is left to run", is_failure=False)
    assert decide(policy, done, failed) == FleetExit(1, "nothing is left to run; failed: b", is_failure=True)
    assert decide(policy, done, one("d", State.READY)) is None
    assert decide(policy, off) is None, "a fleet in which nothing is wanted was never through"
    assert decide(policy, done, is_starting=True) is None


def test_who_only_listens_keeps_no_fleet_from_being_through():
    policy = ExitPolicySpec(all_ended=True)
    names = SupervisorName(group="mail", process="mail", kind="eventlistener", events=("EVENT",))
    listener = one("mail", State.READY, supervisor=names)
    done = one("a", State.COMPLETED, code=0)
    assert decide(policy, done, listener) == FleetExit(0, "nothing is left to run", is_failure=False)
    assert decide(policy, one("a", State.READY), listener) is None
    assert decide(policy, listener) is None
    lost = one("mail", State.FAILED, code=1, supervisor=names)
    found = decide(policy, done, lost)
    assert found == FleetExit(1, "nothing is left to run; failed: mail", is_failure=True)
