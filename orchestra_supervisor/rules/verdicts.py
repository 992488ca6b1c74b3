"""What verdicts mean for a run: the lifecycle's rules for `Probed`, `ProbeSaw` and `Hung`."""

from dataclasses import replace

from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.inputs import Effect, Emit, Hung, Input, Probed, ProbeKind, ProbeSaw
from orchestra_supervisor.rules.moves import Step, end, enter, enter_running, ready
from orchestra_supervisor.rules.service import Ending, Moment, Service, Then

__all__ = ["hung", "probe_saw", "probed", "unprobed"]


def probed(service: Service, event: Input, now: Moment) -> Step:
    """Act on a verdict: enter running, ready or unhealthy, or end the run."""
    assert isinstance(event, Probed)
    run = service.run
    if run is None or run.id != event.run or run.pid is None or run.leader_ended:
        return Step(service)
    if getattr(service.spec.probes, event.kind.value) is None:  # taken out of the configuration meanwhile
        return Step(service)
    service = replace(service, probe_error="" if event.passed else event.detail)
    told = _probe_news(service, event)
    match event.kind:
        case ProbeKind.STARTUP:
            after = _startup_probed(service, event, now)
        case ProbeKind.READINESS:
            after = _readiness_probed(service, event, now)
        case ProbeKind.LIVENESS:
            after = _liveness_probed(service, event, now)
    return Step(after.service, (*told, *after.effects))


def _probe_news(service: Service, event: Probed) -> tuple[Effect, ...]:
    data = (("probe", event.kind.value),)
    if not event.passed:
        return (Emit("service.probe_failed", f"{event.kind} probe failed: {event.detail}", data),)
    if service.state is State.UNHEALTHY:
        return (Emit("service.probe_recovered", f"{event.kind} probe passes again", data),)
    return ()


def _startup_probed(service: Service, event: Probed, now: Moment) -> Step:
    if service.state is not State.STARTING:
        return Step(service)
    if event.passed:
        return enter_running(service, now)
    why = f"startup probe failed: {event.detail}"
    if service.ending is not None:  # somebody has said already what is to follow
        return end(service, replace(service.ending, after=()), now, why)
    return end(service, Ending(Then.POLICY, why, failed=True), now)


def _readiness_probed(service: Service, event: Probed, now: Moment) -> Step:
    assert service.run is not None
    if event.passed and service.state in {State.RUNNING, State.UNHEALTHY}:
        return Step(enter(ready(service, now), State.READY, "ready", now))
    if not event.passed and service.state is State.READY:
        return Step(enter(service, State.UNHEALTHY, f"readiness probe failed: {event.detail}", now))
    return Step(service)


def _liveness_probed(service: Service, event: Probed, now: Moment) -> Step:
    if event.passed or service.ending is not None:
        return Step(service)
    return end(service, Ending(Then.POLICY, f"liveness probe failed: {event.detail}", failed=True), now)


def hung(service: Service, event: Input, now: Moment) -> Step:
    """End a run as a failed liveness probe does: what follows is for its restart policy to say."""
    assert isinstance(event, Hung)
    run = service.run
    if run is None or run.id != event.run or run.pid is None or run.leader_ended:
        return Step(service)
    if service.ending is not None:
        return Step(service)
    return end(service, Ending(Then.POLICY, event.why, failed=True), now)


def probe_saw(service: Service, event: Input, now: Moment) -> Step:
    """Remember what a probe saw, for people."""
    del now
    assert isinstance(event, ProbeSaw)
    if not service.is_current(event.run):
        return Step(service)
    return Step(replace(service, probe_error=event.detail))


def unprobed(service: Service, now: Moment) -> Step:
    """Let a run go on that stands where only the verdict of a probe would move it, and has no such probe.

    That is so after a change of the configuration: nobody would ever tell the verdict.
    """
    run, probes = service.run, service.spec.probes
    if run is None or run.pid is None or run.leader_ended:
        return Step(service)
    is_starting, lasted_at = service.state is State.STARTING, service.started_at
    if lasted_at is not None and lasted_at > now.mono:
        return Step(service)
    awaited = (probes.startup or service.spec.notify or None) if is_starting else probes.readiness
    if awaited is None and service.state in {State.STARTING, State.RUNNING, State.UNHEALTHY}:
        after = enter_running(replace(service, probe_error=""), now)
        # A job runs to its end without a probe: it stands where it belongs.
        return after if after.service.state is not service.state else Step(service)
    return Step(service)
