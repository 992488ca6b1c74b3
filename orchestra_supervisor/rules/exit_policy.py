"""Whether a fleet is to end by itself, and with which exit status."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from orchestra_supervisor.model.exit_policy import ExitPolicySpec
from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.rules.fleet import failed_required
from orchestra_supervisor.rules.listening import is_listener
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.service import Service

__all__ = ["FleetExit", "exit_of", "may_end"]

_ENDED = frozenset({State.COMPLETED, State.FAILED})
_BY_SIGNAL = 128  # added to a signal's number, as shells do


@dataclass(frozen=True, slots=True)
class FleetExit:
    """The fleet is to end.

    Attributes:
        status: Exit status of the keeper.
        why: For people.
        is_failure: It is told as the failure of the fleet.
    """

    status: int
    why: str
    is_failure: bool


def may_end(policy: ExitPolicySpec, service: Service, *, is_starting: bool) -> bool:
    """Return whether the fleet may be to end because of this service: then all are looked at."""
    is_required = service.spec.required_for_system and (is_starting or policy.required_fails)
    if is_required and service.state in {State.FAILED, State.WAITING}:
        return True
    return service.state in _ENDED and bool(policy.ends or policy.all_ended)


def exit_of(
    policy: ExitPolicySpec, services: Mapping[str, Service], *, is_starting: bool
) -> FleetExit | None:
    """Return how a fleet is to end, or None: it goes on.

    Args:
        policy: What the configuration says.
        services: All services.
        is_starting: The fleet has not settled yet: then a required service that fails always ends it.
    """
    services = visible(services)  # those of our own end no fleet, and keep none from ending
    if is_starting or policy.required_fails:
        failed = failed_required(services)
        if failed:
            verb = "cannot start" if is_starting else "have failed"
            reasons = "; ".join(f"{name}: {services[name].reason}" for name in failed)
            return FleetExit(1, f"required services {verb}: {reasons}", is_failure=True)
    for name, service in services.items():
        group = service.spec.replica.group if service.spec.replica else name
        if (name in policy.ends or group in policy.ends) and _has_ended(service):
            status = _status(service)
            return FleetExit(status, f"{name} has ended: {service.reason}", is_failure=status != 0)
    if policy.all_ended and not is_starting and _are_through(services):
        failed = [name for name, service in services.items() if service.state is State.FAILED]
        why = f"nothing is left to run; failed: {', '.join(failed)}" if failed else "nothing is left to run"
        return FleetExit(1 if failed else 0, why, is_failure=bool(failed))
    return None


def _has_ended(service: Service) -> bool:
    """Return whether a service is through: nothing of it runs, and nothing will by itself."""
    goes_on = service.spec.schedule is not None and service.desired is Desired.UP
    return service.state in _ENDED and not goes_on and not service.listening


def _are_through(services: Mapping[str, Service]) -> bool:
    """Return whether all that is to run has ended; who only listens to events waits for the others."""
    counted = [service for service in services.values() if not is_listener(service.spec)]
    wanted = [service for service in counted if service.desired is Desired.UP]
    return bool(wanted) and all(_has_ended(service) for service in wanted)


def _status(service: Service) -> int:
    """Return the exit status of a service as that of the fleet; 1 where it failed without one."""
    last, failed = service.exit, service.state is State.FAILED
    if last is None or (last.code is None and last.signal is None):
        return 1 if failed else 0
    if last.signal is not None:
        number = signal.Signals.__members__.get(last.signal)
        return 1 if number is None else _BY_SIGNAL + number
    return 1 if failed and not last.code else last.code or 0
