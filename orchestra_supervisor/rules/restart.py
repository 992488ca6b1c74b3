"""Whether a run that ended is followed by another, and when."""

from dataclasses import dataclass

from orchestra_supervisor.model.spec import BackoffSpec, RestartSpec, StartSpec
from orchestra_supervisor.model.states import Kind

__all__ = ["Again", "GiveUp", "backoff_delay", "decide_restart", "is_success", "retry_delay", "wants_restart"]

_RUN_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Again:
    """Start again.

    Attributes:
        delay: Seconds to wait; 0: at once.
        attempts: Restarts since the last stable spell, this one included.
        recent: Instants of the restarts within the window, this one included.
    """

    delay: float
    attempts: int
    recent: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The restart limit is reached; `why` is for people."""

    why: str


def is_success(spec: RestartSpec, code: int | None) -> bool:
    """Return whether an exit code counts as success; a death by signal (None) never does."""
    return code is not None and code in spec.success_exit_codes


def wants_restart(spec: RestartSpec, kind: Kind, *, success: bool) -> bool:
    """Return whether policy wants another run. Success ends what is no daemon."""
    if spec.policy == "never":
        return False
    if success:
        return spec.policy == "always" and kind is Kind.DAEMON
    return True


def backoff_delay(spec: BackoffSpec, attempts: int, seed: str) -> float:
    """Return seconds to wait before the restart number `attempts` (from 0) since the last stable spell.

    Monotone in `attempts`, capped, then jittered by up to `jitter` of itself (so the result is at
    most cap * (1 + jitter)). The jitter comes from the digits of a run id, which are random.
    """
    if spec.first_immediate:
        if attempts == 0:
            return 0.0
        attempts -= 1
    # The exponent is bounded before the power: 2.0 ** 2000 overflows.
    delay = spec.initial
    for _ in range(attempts):
        if delay >= spec.cap or spec.multiplier == 1:
            break
        delay *= spec.multiplier
    return min(delay, spec.cap) * (1.0 + spec.jitter * _fraction(seed))


def _fraction(run_id: str) -> float:
    digits = run_id[-_RUN_ID_DIGITS:]
    try:
        return int(digits, 16) / 16 ** len(digits)
    except ValueError:
        return 0.0


def decide_restart(
    spec: RestartSpec, *, attempts: int, recent: tuple[float, ...], lasted: float, now: float, seed: str
) -> Again | GiveUp:
    """Return when to start again, or that the limit is reached.

    Args:
        spec: The policy.
        attempts: Restarts since the last stable spell.
        recent: Instants of past restarts by policy.
        lasted: Seconds that the ended run lasted.
        now: The present instant.
        seed: Run id of the ended run.
    """
    if lasted >= spec.stable_after:
        attempts = 0
    within = tuple(at for at in recent if at > now - spec.window) if spec.window else recent
    if spec.max_restarts is not None and len(within) >= spec.max_restarts:
        span = f" within {spec.window:g} s" if spec.window else ""
        return GiveUp(f"restart limit reached: {len(within)} restarts{span}")
    kept = (*within, now)
    if spec.max_restarts is None:
        kept = ()  # nothing counts them, so nothing need remember them
    return Again(backoff_delay(spec.backoff, attempts, seed), attempts + 1, kept)


def retry_delay(spec: StartSpec, failed: int) -> float | None:
    """Return seconds to wait after a start that failed, or None: it is not tried again.

    Args:
        spec: What a start is.
        failed: Starts that have failed in a row, this one included.
    """
    if spec.retries is not None and failed > spec.retries:
        return None
    return spec.delay * failed
