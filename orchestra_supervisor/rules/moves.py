"""The moves of the lifecycle: the only code that assigns a state.

The rules in `lifecycle` choose among these; each keeps the promises that go with the state it enters.
"""

from dataclasses import dataclass

from orchestra_supervisor.model.spec import ServiceSpec, StartSpec
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.model.supervisord import TOLD
from orchestra_supervisor.rules.diff import run_digest
from orchestra_supervisor.rules.inputs import Effect, Listen, Spawn, StopRun, Took, Unlisten
from orchestra_supervisor.rules.planning import REPLACED, finish, next_up, with_plan
from orchestra_supervisor.rules.records import replace
from orchestra_supervisor.rules.restart import GiveUp, decide_restart, retry_delay, wants_restart
from orchestra_supervisor.rules.schedule import first_text, next_time_of_day
from orchestra_supervisor.rules.service import Ending, Moment, Run, Service, Then

__all__ = [
    "Step",
    "after_run",
    "begin",
    "begin_after",
    "begin_anew",
    "end",
    "enter",
    "enter_running",
    "make_room",
    "ready",
    "settle_down",
    "take",
]


@dataclass(frozen=True, slots=True)
class Step:
    """What a step results in."""

    service: Service
    effects: tuple[Effect, ...] = ()


def enter(service: Service, state: State, reason: str, now: Moment) -> Service:
    """Enter a state; `since` moves only when it is another one."""
    since = service.since_wall if state is service.state else now.wall
    return replace(service, state=state, reason=reason, since_wall=since)


def _waiting_reason(unmet: tuple[tuple[str, str], ...]) -> str:
    return "waiting for " + ", ".join(f"{name} ({state})" for name, state in unmet)


def begin(service: Service, now: Moment, why: str = "") -> Step:
    """Start now if dependencies and delay allow, else wait. The only place that spawns."""
    assert service.run is None, "a run must be gone before the next begins"
    service = next_up(with_plan(_fresh(service), now))
    if service.is_idle:
        return Step(_rest(service, now))
    if service.unmet:
        return Step(enter(service, State.WAITING, _waiting_reason(service.unmet), now))
    if service.next_start is not None and service.next_start > now.mono:
        return Step(enter(service, State.WAITING, "waiting for its start delay", now))
    if service.spec.start_on == "connection" and not service.called:
        service = enter(replace(service, listening=True), State.WAITING, "waiting for a connection", now)
        return Step(service, (Listen(),))
    digest = run_digest(service.spec)
    run = Run(id=now.run_id, ordered_mono=now.mono, ordered_wall=now.wall, digest=digest)
    service = replace(service, run=run, next_start=None)
    return Step(enter(service, State.STARTING, why or "starting", now), (Spawn(run.id),))


def _fresh(service: Service) -> Service:
    """Forget what was said of the last run."""
    return replace(service, ending=None, refresh=False, probe_error="", listening=False, said="", beat=None)


def _closed(service: Service) -> tuple[Effect, ...]:
    """Return what closes the sockets of a service that comes to rest, if it has any."""
    return (Unlisten(),) if service.spec.sockets else ()


def _rest(service: Service, now: Moment) -> Service:
    """Come to rest until the next planned run: as the last one went, or waiting for the first."""
    schedule, plan, last = service.spec.schedule, service.plan, service.last
    if last is not None:
        return enter(service, State.COMPLETED if last.success else State.FAILED, last.text, now)
    assert schedule is not None
    assert plan is not None
    return enter(service, State.WAITING, first_text(schedule, plan), now)


def make_room(service: Service, now: Moment) -> Step:
    """Let the planned run that is in the works go, for the one that waits."""
    if service.run is None:
        backoff_ends = service.state is State.BACKOFF  # it was that of the run that goes
        service = finish(service, now, run=None, lasted=0.0, success=False, text=REPLACED)
        return begin(replace(service, next_start=None) if backoff_ends else service, now)
    if service.ending is None:
        return end(service, Ending(Then.NEXT, REPLACED), now)
    if service.ending.then is Then.POLICY:
        return Step(replace(service, ending=replace(service.ending, then=Then.NEXT)))
    return Step(service)  # it is ended for another reason, and what waits begins after that


def end(service: Service, ending: Ending, now: Moment, reason: str = "") -> Step:
    """Begin the stop sequence of the present run, or note that it waits for dependents."""
    run = service.run
    assert run is not None, "only a run can be ended"
    service = replace(service, ending=ending)
    if ending.after:
        others = ", ".join(name for name in ending.after if name != TOLD)
        when = f"{others} is down" if others else "it was told of all that happened"
        return Step(replace(service, reason=f"stops when {when}"))
    return Step(enter(service, State.STOPPING, reason or ending.why, now), (StopRun(run.id),))


def settle_down(service: Service, now: Moment) -> Step:
    """Come to rest in `stopped`, as desired."""
    why = {
        DownReason.DISABLED: "disabled in the configuration",
        DownReason.NOT_SELECTED: "not selected by --only",
        DownReason.OPERATOR: "stopped by hand",
        DownReason.SHUTDOWN: "the fleet goes down",
        DownReason.REMOVED: "removed from the configuration",
        DownReason.DEMAND: "started on demand",
    }.get(service.down_reason, "stopped")
    plan = service.plan and replace(service.plan, current=None, waiting=())
    service = replace(_fresh(service), next_start=None, called=False, plan=plan)
    return Step(enter(service, State.STOPPED, why, now), _closed(service))


def enter_running(service: Service, now: Moment) -> Step:
    """Enter `running`, or `ready` at once where nothing has to be shown first."""
    assert service.run is not None
    service = replace(service, run=replace(service.run, was_started=True), failed_starts=0)
    if service.spec.probes.readiness is not None or service.spec.kind is not Kind.DAEMON:
        return Step(enter(service, State.RUNNING, "running", now))
    return Step(enter(ready(service, now), State.READY, "ready", now))


def ready(service: Service, now: Moment) -> Service:
    """Take note that the run is ready, and of the time of day at which it is to be recycled."""
    assert service.run is not None
    run, recycle = replace(service.run, was_ready=True), service.spec.recycle
    if recycle.cron is not None and run.recycle_at is None:
        run = replace(run, recycle_at=next_time_of_day(recycle.cron, recycle.timezone, now.clocks))
    return replace(service, run=run)


def _after_all(service: Service, state: State, why: str, now: Moment) -> Step:
    """Come to rest after a run that policy does not follow with another; what waits begins at once."""
    if service.plan is not None and service.plan.waiting:
        return begin(service, now)
    if service.spec.start_on == "connection" and state is State.COMPLETED:
        return begin(replace(service, called=False), now)  # and waits for the next connection
    return Step(enter(service, state, why, now), _closed(service))


def begin_anew(service: Service, now: Moment) -> Service:
    """Forget a run whose spawn order left no trace: come to rest, or wait to be begun again.

    A daemon died between deciding and hearing: no process is there, and whether one was refused is
    not known, so nothing is counted against the service.
    """
    ending = service.ending
    service = replace(service, run=None, ending=None, next_start=None)
    if service.desired is Desired.DOWN or (ending is not None and ending.then is Then.DOWN):
        return settle_down(service, now).service
    return enter(service, State.WAITING, "about to start again", now)


def begin_after(spec: ServiceSpec, run: str, now: Moment) -> Service:
    """Return a service that is wanted, and begins when a run of an earlier one of its name is gone.

    Args:
        spec: The service.
        run: Id of the run, whose stop has been ordered.
        now: The present moment.
    """
    why = "starting when what ran under this name before is gone"
    last = Run(id=run, ordered_mono=now.mono, ordered_wall=now.wall, leader_ended=False)
    ending = Ending(Then.AGAIN, why)
    service = Service(spec, desired=Desired.UP, run=last, ending=ending)
    return enter(service, State.STOPPING, why, now)


def take(service: Service, now: Moment, run_id: str, *, lasted: float, success: bool) -> Step:
    """Take over the run that began by a standing order when the last one was over.

    It is there, whatever would be decided now: what has been said meanwhile is applied to it.
    """
    assert service.run is not None
    ending, before = service.ending, service.run
    run = Run(id=run_id, ordered_mono=now.mono, ordered_wall=now.wall, digest=before.digest)
    took = Took(run_id, before.id)
    if service.state is State.STOPPING:
        return Step(replace(service, run=run), (took, StopRun(run_id)))
    begun = enter(replace(service, run=run), State.STARTING, "starting", now)
    if ending is not None:
        return Step(begun, (took,))  # it waits for its dependents, as the one before did
    after = after_run(service, replace(now, run_id=run_id), lasted=lasted, success=success)
    if after.service.run is not None:
        others = tuple(effect for effect in after.effects if not isinstance(effect, Spawn))
        return Step(replace(after.service, run=run), (took, *others))
    # The order was taken back, and that came too late.
    if service.unmet:
        ending = Ending(Then.AGAIN, _waiting_reason(service.unmet))
    else:
        ending = Ending(Then.POLICY, after.service.reason, failed=True)
    stopped = end(begun, ending, now)
    return Step(stopped.service, (took, *stopped.effects))


def after_run(service: Service, now: Moment, *, lasted: float, success: bool) -> Step:
    """Decide what follows a run that is over."""
    assert service.run is not None
    run, ending = service.run, service.ending
    service = replace(service, run=None, ending=None)
    last = service.exit.text if service.exit is not None else "ended"
    why = ending.why if ending is not None and ending.failed else last
    if service.desired is Desired.DOWN or (ending is not None and ending.then is Then.DOWN):
        service = finish(service, now, run=run, lasted=lasted, success=success, text=why)
        return settle_down(service, now)
    if ending is not None and ending.then is Then.NEXT:
        service = finish(service, now, run=run, lasted=lasted, success=False, text=REPLACED)
        return begin(replace(service, next_start=None), now)
    if ending is not None and ending.then is Then.AGAIN:
        return begin(replace(service, restarts=service.restarts + 1, next_start=None), now, ending.why)
    start = service.spec.start
    if start is not None and not run.was_started:
        return _after_failed_start(start, service, run, now, lasted=lasted, why=why)
    if not wants_restart(service.spec.restart, service.spec.kind, success=success):
        service = finish(service, now, run=run, lasted=lasted, success=success, text=why)
        return _after_all(service, State.COMPLETED if success else State.FAILED, why, now)
    verdict = decide_restart(
        service.spec.restart,
        attempts=service.attempts,
        recent=service.recent,
        lasted=lasted,
        now=now.mono,
        seed=run.id,
    )
    if isinstance(verdict, GiveUp):
        text = f"{why}; {verdict.why}"
        service = finish(service, now, run=run, lasted=lasted, success=False, text=text)
        return _after_all(service, State.FAILED, text, now)
    service = replace(
        service, attempts=verdict.attempts, recent=verdict.recent, restarts=service.restarts + 1
    )
    if verdict.delay <= 0:
        return begin(service, now, f"restarting after {why}")
    service = replace(service, next_start=now.mono + verdict.delay)
    return Step(enter(service, State.BACKOFF, why, now))


def _after_failed_start(
    start: StartSpec, service: Service, run: Run, now: Moment, *, lasted: float, why: str
) -> Step:
    """Try a start again that ended before it counted as one, however it ended, or give up."""
    failed = service.failed_starts + 1
    service = replace(service, failed_starts=failed)
    delay = retry_delay(start, failed)
    text = f"{why}, before it had lasted {start.after:g} s" if start.after else why
    if delay is None:
        text = f"{text}; given up after {failed} {'start' if failed == 1 else 'starts'}"
        service = finish(service, now, run=run, lasted=lasted, success=False, text=text)
        return _after_all(service, State.FAILED, text, now)
    service = replace(service, restarts=service.restarts + 1)
    if delay <= 0:
        return begin(service, now, f"trying again after {text}")
    service = replace(service, next_start=now.mono + delay)
    return Step(enter(service, State.BACKOFF, text, now))
