"""The schedule's part of the lifecycle: what has come due, what overlaps, what a run that is over leaves.

A periodic service is *idle* while no planned run is in the works. A planned run is in the works from when
it is due until the restart policy is through with it: waiting for dependencies, backing off and starting
again are parts of one planned run.
"""

from dataclasses import dataclass

from orchestra_supervisor.model.errors import ConflictError, InvalidRequest
from orchestra_supervisor.model.report import RunReport
from orchestra_supervisor.model.states import Desired, Kind
from orchestra_supervisor.rules.inputs import Emit
from orchestra_supervisor.rules.records import replace
from orchestra_supervisor.rules.schedule import MISSED_LIMIT, make_plan, take_up
from orchestra_supervisor.rules.service import Moment, Run, Service

__all__ = ["REPLACED", "Kept", "admit", "check_run", "finish", "keep_time", "next_up", "with_plan"]

REPLACED = "replaced by its next planned run"


@dataclass(frozen=True, slots=True)
class Kept:
    """A service after a look at its schedule.

    Attributes:
        service: With what is due now among what waits.
        effects: What there is to tell.
        replaces: The run in the works is to make room for the one that waits.
    """

    service: Service
    effects: tuple[Emit, ...] = ()
    replaces: bool = False


def with_plan(service: Service, now: Moment, reached_wall: float | None = None) -> Service:
    """Return a periodic service that has a plan: the one it has, or one that begins now."""
    schedule = service.spec.schedule
    if schedule is None or service.plan is not None:
        return service
    return replace(service, plan=make_plan(schedule, now.clocks, reached_wall), look=0.0)


def next_up(service: Service) -> Service:
    """Return an idle service with the first run that waits in the works; it owes nothing to the last one."""
    plan = service.plan
    if plan is None or plan.current is not None or not plan.waiting:
        return service
    plan = replace(plan, current=plan.waiting[0], waiting=plan.waiting[1:])
    return replace(service, plan=plan, attempts=0, failed_starts=0, recent=())


def finish(
    service: Service, now: Moment, *, run: Run | None, lasted: float, success: bool, text: str
) -> Service:
    """Return a service whose planned run is over.

    Args:
        service: The service.
        now: The present moment.
        run: Its last run, or None: none had begun.
        lasted: Seconds of that run.
        success: Whether it counts as a success.
        text: How it ended, for people.
    """
    plan = service.plan
    if plan is None or plan.current is None:
        return service
    started = run.ordered_wall if run is not None and run.pid is not None else None
    last = RunReport(plan.current, started, now.wall, lasted, success, text)
    return replace(service, last=last, plan=replace(plan, current=None))


def keep_time(service: Service, now: Moment) -> Kept:
    """Look at the schedule, if that is due, and take up what it asks for."""
    schedule, plan = service.spec.schedule, service.plan
    if schedule is None or plan is None or service.desired is Desired.DOWN or service.look > now.mono:
        return Kept(service)
    agenda = take_up(schedule, service.spec.name, plan, now.clocks)
    kept = admit(replace(service, plan=agenda.plan, look=now.mono + agenda.look_in), agenda.due)
    if agenda.missed is None:
        return kept
    first, last = agenda.missed
    count = len(agenda.due)
    made_up = "1 run makes" if count == 1 else f"{count} runs make" if count else "no run makes"
    data = (("first", first), ("last", last), ("made_up", count))
    told = Emit("service.missed", f"planned runs could not begin in time; {made_up} up for them", data)
    return replace(kept, effects=(told, *kept.effects))


def check_run(service: Service) -> None:
    """Check that a run of a service may be asked for now.

    Raises:
        InvalidRequest: It is a daemon.
        ConflictError: It is stopped, or a run is in the works and the overlap policy is to skip.
    """
    spec, name = service.spec, service.spec.name
    if spec.kind is Kind.DAEMON:
        raise InvalidRequest(
            f"{name} is a daemon: it has no runs to ask for", hint=f"orchestra start {name}, or restart"
        )
    if spec.schedule is None:
        return
    if service.desired is Desired.DOWN:
        raise ConflictError(f"{name} is stopped", hint=f"orchestra start {name} puts its schedule into force")
    if spec.schedule.overlap == "skip" and not service.is_idle:
        raise ConflictError(
            f"a run of {name} is not over, and its schedule skips what overlaps",
            hint=f"wait for it, or set schedule.overlap of {name} to queue or replace",
        )


def admit(service: Service, due: tuple[float, ...]) -> Kept:
    """Take on runs that are due, as far as the overlap policy lets them beside the one in the works.

    Args:
        service: With a plan.
        due: Their planned wall instants, in order.
    """
    schedule, plan = service.spec.schedule, service.plan
    if schedule is None or plan is None or not due:
        return Kept(service)
    if plan.current is None:
        waiting = (*plan.waiting, *due)[:MISSED_LIMIT]
        return Kept(replace(service, plan=replace(plan, waiting=waiting)))
    left_out, text = due, "a run is left out: the one before it is not over"
    if schedule.overlap == "replace":
        service = replace(service, plan=replace(plan, waiting=due[-1:]))
        left_out, text = (*plan.waiting, *due[:-1]), "a run is left out: a later one takes its place"
    elif schedule.overlap == "queue":
        text = "a run is left out: another one waits already"
        if not plan.waiting:
            service = replace(service, plan=replace(plan, waiting=due[-1:]))
            left_out = due[:-1]
    told = (Emit("service.skipped", text, (("planned", left_out),)),) if left_out else ()
    return Kept(service, told, replaces=schedule.overlap == "replace")
