"""The moves of the lifecycle: the only code that assigns a state.

The rules in `lifecycle` choose among these; each keeps the promises that go with the state it enters.
"""

from dataclasses import dataclass, replace

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.rules.diff import run_digest
from orchestra_supervisor.rules.inputs import Effect, Spawn, StopRun
from orchestra_supervisor.rules.restart import GiveUp, decide_restart, wants_restart
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
    "settle_down",
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
    service = replace(service, ending=None, refresh=False, probe_error="")
    if service.unmet:
        return Step(enter(service, State.WAITING, _waiting_reason(service.unmet), now))
    if service.next_start is not None and service.next_start > now.mono:
        return Step(enter(service, State.WAITING, "waiting for its start delay", now))
    digest = run_digest(service.spec)
    run = Run(id=now.run_id, ordered_mono=now.mono, ordered_wall=now.wall, digest=digest)
    service = replace(service, run=run, next_start=None)
    return Step(enter(service, State.STARTING, why or "starting", now), (Spawn(run.id),))


def end(service: Service, ending: Ending, now: Moment, reason: str = "") -> Step:
    """Begin the stop sequence of the present run, or note that it waits for dependents."""
    run = service.run
    assert run is not None, "only a run can be ended"
    service = replace(service, ending=ending)
    if ending.after:
        return Step(replace(service, reason=f"stops when {', '.join(ending.after)} is down"))
    return Step(enter(service, State.STOPPING, reason or ending.why, now), (StopRun(run.id),))


def settle_down(service: Service, now: Moment) -> Step:
    """Come to rest in `stopped`, as desired."""
    why = {
        DownReason.DISABLED: "disabled in the configuration",
        DownReason.NOT_SELECTED: "not selected by --only",
        DownReason.OPERATOR: "stopped by hand",
        DownReason.SHUTDOWN: "the fleet goes down",
        DownReason.REMOVED: "removed from the configuration",
    }.get(service.down_reason, "stopped")
    return Step(enter(replace(service, ending=None, next_start=None, refresh=False), State.STOPPED, why, now))


def enter_running(service: Service, now: Moment) -> Step:
    """Enter `running`, or `ready` at once where nothing has to be shown first."""
    assert service.run is not None
    if service.spec.probes.readiness is not None or service.spec.kind is Kind.ONCE:
        return Step(enter(service, State.RUNNING, "running", now))
    return Step(enter(replace(service, run=replace(service.run, was_ready=True)), State.READY, "ready", now))


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


def after_run(service: Service, now: Moment, *, lasted: float, success: bool) -> Step:
    """Decide what follows a run that is over."""
    assert service.run is not None
    seed, ending = service.run.id, service.ending
    service = replace(service, run=None, ending=None)
    if service.desired is Desired.DOWN or (ending is not None and ending.then is Then.DOWN):
        return settle_down(service, now)
    if ending is not None and ending.then is Then.AGAIN:
        return begin(replace(service, restarts=service.restarts + 1, next_start=None), now, ending.why)
    last = service.exit.text if service.exit is not None else "ended"
    why = ending.why if ending is not None and ending.failed else last
    if not wants_restart(service.spec.restart, service.spec.kind, success=success):
        state = State.COMPLETED if success else State.FAILED
        return Step(enter(service, state, why, now))
    verdict = decide_restart(
        service.spec.restart,
        attempts=service.attempts,
        recent=service.recent,
        lasted=lasted,
        now=now.mono,
        seed=seed,
    )
    if isinstance(verdict, GiveUp):
        return Step(enter(service, State.FAILED, f"{why}; {verdict.why}", now))
    service = replace(
        service, attempts=verdict.attempts, recent=verdict.recent, restarts=service.restarts + 1
    )
    if verdict.delay <= 0:
        return begin(service, now, f"restarting after {why}")
    service = replace(service, next_start=now.mono + verdict.delay)
    return Step(enter(service, State.BACKOFF, why, now))
