"""The rules of time: a deadline has come, or somebody asks for a run before its time.

A deadline is a start delay, a backoff, a startup timeout, or the next look at a schedule; the record
says which. `lifecycle` has the table.
"""

from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.rules.inputs import Input, RunNow
from orchestra_supervisor.rules.moves import Step, begin, end, enter_running, make_room
from orchestra_supervisor.rules.planning import Kept, admit, keep_time
from orchestra_supervisor.rules.service import Ending, Moment, Service, Then

__all__ = ["due_while_stopping", "due_while_up", "due_without_run", "run_now"]


def run_now(service: Service, event: Input, now: Moment) -> Step:
    """Take on a run that somebody asks for; one that is wanted down has none."""
    assert isinstance(event, RunNow)
    if service.desired is Desired.DOWN:
        return Step(service)
    return _take_on(admit(service, (event.planned,)), now, event.why)


def _take_on(kept: Kept, now: Moment, why: str = "its run is due") -> Step:
    """Begin what has come due, or end what stands in its way."""
    service = kept.service
    if kept.replaces:
        after = make_room(service, now)
    elif (
        service.is_idle and service.run is None and (_has_waiting(service) or service.state is State.WAITING)
    ):
        after = begin(service, now, why)  # of one that waits for its schedule: says anew what for
    else:
        after = Step(service)
    return Step(after.service, (*kept.effects, *after.effects))


def _has_waiting(service: Service) -> bool:
    return service.plan is not None and bool(service.plan.waiting)


def due_without_run(service: Service, event: Input, now: Moment) -> Step:
    """Begin what only waited for time."""
    del event
    taken = _take_on(keep_time(service, now), now)
    begin_at = taken.service.begin_at
    if taken.service.run is not None or begin_at is None or begin_at > now.mono:
        return taken
    begun = begin(taken.service, now)
    return Step(begun.service, (*taken.effects, *begun.effects))


def due_while_stopping(service: Service, event: Input, now: Moment) -> Step:
    """Take note of what comes due while a run ends."""
    del event
    return _take_on(keep_time(service, now), now)


def due_while_up(service: Service, event: Input, now: Moment) -> Step:
    """Look at the schedule, and end a run that is not ready in time."""
    del event
    taken = _take_on(keep_time(service, now), now)
    lasted = _lasted(taken.service, now)
    late = _out_of_time(lasted.service, now)
    return Step(late.service, (*taken.effects, *lasted.effects, *late.effects))


def _lasted(service: Service, now: Moment) -> Step:
    """Count a run as started that has lasted as long as it had to."""
    at = service.started_at
    return Step(service) if at is None or at > now.mono else enter_running(service, now)


def _out_of_time(service: Service, now: Moment) -> Step:
    """End a run that did not show in time that it is ready or alive, or that has become old."""
    if service.ending is not None:
        return Step(service)
    beat_by, fresh_until = service.watchdog_deadline, service.recycle_deadline
    if beat_by is not None and beat_by <= now.mono:
        why = f"watchdog: it has not said for {beat_by - (service.beat or 0.0):g} s that it is alive"
        return end(service, Ending(Then.POLICY, why, failed=True), now)
    if fresh_until is not None and fresh_until <= now.mono:
        age, run = service.spec.recycle.age, service.run
        is_old = age is not None and run is not None and run.ordered_mono + age <= now.mono
        why = f"recycled: older than {age:g} s" if is_old else "recycled: at its time of day"
        return end(service, Ending(Then.AGAIN, why), now)
    return _not_ready_in_time(service, now)


def _not_ready_in_time(service: Service, now: Moment) -> Step:
    deadline = service.startup_deadline
    if deadline is None or deadline > now.mono or service.ending is not None:
        return Step(service)
    limit = f"not ready within {service.spec.startup_timeout:g} s"
    why = f"{limit}: {service.probe_error}" if service.probe_error else limit
    return end(service, Ending(Then.POLICY, why, failed=True), now)
