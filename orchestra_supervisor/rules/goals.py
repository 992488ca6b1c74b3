"""What a caller waits for: whether a service has reached it, will not by itself, or has not yet."""

from collections.abc import Callable

from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.service import Service

__all__ = ["Goal", "has_run", "is_completed", "is_down", "is_ready"]

Goal = Callable[[Service], bool | None]
"""True met, False it will not be met by itself, None not yet."""


def is_ready(service: Service) -> bool | None:
    """Return whether a service is up, or has done what it is for.

    A periodic one: goes by its schedule. One that starts on demand: rests, and can be asked for.
    """
    if (service.is_idle and service.desired is Desired.UP) or service.listening:
        return True
    if service.state in {State.READY, State.COMPLETED} and service.ending is None:
        return True
    if service.state is State.FAILED:
        return False
    if service.state is State.STOPPED and service.down_reason is DownReason.DEMAND:
        return True
    if service.state is State.STOPPED and service.down_reason is not DownReason.NONE:
        return False
    return None


def is_down(service: Service) -> bool | None:
    """Return whether nothing of a service is left."""
    if service.run is None and service.state in {State.STOPPED, State.COMPLETED, State.FAILED}:
        return True
    return None


def is_completed(service: Service) -> bool | None:
    """Return whether a service has ended with success."""
    if service.state is State.COMPLETED:
        return True
    return False if service.state is State.FAILED else None


def has_run(asked: float) -> Goal:
    """Return the goal that what was due up to a wall instant has run, the last of it with success."""

    def goal(service: Service) -> bool | None:
        plan = service.plan
        if service.spec.schedule is None:
            return is_completed(service)
        if plan is None or service.desired is Desired.DOWN:
            return False
        if any(at is not None and at <= asked for at in (plan.current, *plan.waiting)):
            return None
        return service.last is not None and service.last.success

    return goal
