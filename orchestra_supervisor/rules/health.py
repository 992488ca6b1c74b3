"""How probe results become verdicts, and when the next check is due."""

from dataclasses import dataclass, replace

from orchestra_supervisor.model.spec import ProbeSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.inputs import ProbeKind
from orchestra_supervisor.rules.service import Service

__all__ = ["FIRST_INTERVAL", "SLOWEST_EAGER", "Tally", "active_probes", "count", "next_interval"]

FIRST_INTERVAL = 0.005
"""Seconds between the first two checks of a probe that has not passed yet: a fast service is ready
in milliseconds (ADR-0004)."""
SLOWEST_EAGER = 1.0
"""Seconds: the eager interval grows by half each time up to this, and never past the period."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of one probe on one run.

    Attributes:
        verdict: Last verdict told: True, False, or None before the first.
        passes: Consecutive passes.
        failures: Consecutive failures since the first pass (startup: since the beginning).
        checks: Checks made.
        passed_once: Whether any check has passed.
    """

    verdict: bool | None = None
    passes: int = 0
    failures: int = 0
    checks: int = 0
    passed_once: bool = False


def active_probes(service: Service) -> tuple[ProbeKind, ...]:
    """Return the probes that should be running for a service as it stands.

    Startup runs until it passes; then readiness; liveness once the run has been ready, so that a slow
    starter is judged by `startup_timeout`, not killed by a probe meant for its later life.
    """
    run, probes = service.run, service.spec.probes
    if run is None or run.pid is None or run.leader_ended:
        return ()
    match service.state:
        case State.STARTING:
            return (ProbeKind.STARTUP,) if probes.startup else ()
        case State.RUNNING:
            return (ProbeKind.READINESS,) if probes.readiness else ()
        case State.READY | State.UNHEALTHY:
            wanted = ((ProbeKind.READINESS, probes.readiness), (ProbeKind.LIVENESS, probes.liveness))
            return tuple(kind for kind, probe in wanted if probe)
        case _:
            return ()


def count(
    spec: ProbeSpec, kind: ProbeKind, tally: Tally, *, passed: bool, elapsed: float
) -> tuple[Tally, bool | None]:
    """Count one result.

    Args:
        spec: The probe, with its thresholds.
        kind: Which probe it is.
        tally: The counts so far.
        passed: The result.
        elapsed: Seconds since the probe began on this run.

    Returns:
        The new counts, and the verdict if it changed, else None (a negative one of liveness is told
        again every `failure_threshold` failures). Before the first pass a
        readiness probe has no negative verdict (the service is not ready yet, which is no news), and
        a startup probe fails by time: `initial_delay + failure_threshold * period`, since checks come
        faster than the period until then.
    """
    tally = replace(tally, checks=tally.checks + 1)
    if passed:
        tally = replace(tally, passes=tally.passes + 1, failures=0, passed_once=True)
        if tally.verdict is not True and tally.passes >= spec.success_threshold:
            return replace(tally, verdict=True), True
        return tally, None
    tally = replace(tally, passes=0, failures=tally.failures + 1)
    if kind is ProbeKind.STARTUP:
        failed = elapsed >= spec.initial_delay + spec.failure_threshold * spec.period
    else:
        judged = tally.passed_once or kind is ProbeKind.LIVENESS
        failed = judged and tally.failures >= spec.failure_threshold
    # A run may not have been ended at once (it was leaving, and stays after all): liveness says it again.
    again = kind is ProbeKind.LIVENESS and tally.failures % spec.failure_threshold == 0
    if failed and (tally.verdict is not False or again):
        return replace(tally, verdict=False), False
    return tally, None


def next_interval(spec: ProbeSpec, kind: ProbeKind, tally: Tally) -> float:
    """Return seconds from the start of the last check to the start of the next one."""
    if kind is ProbeKind.LIVENESS or tally.passed_once:
        return spec.period
    return min(FIRST_INTERVAL * 1.5 ** min(tally.checks - 1, 32), SLOWEST_EAGER, spec.period)
