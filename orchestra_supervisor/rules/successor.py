"""The standing order: the next restart of a run, decided before its end where nothing can be said against it.

Theory
------
What follows a run is decided when it is over, by everything that is known then. For most services that
decision is the same at any moment of a healthy run: start again, at once, by the same order. It is then left
with the keeper, which need not ask (and restarts though no daemon is there); what does not hold any more is
taken back.

The order is made for a future that is not known, so its conditions lean to the careful side: the end must be
one after which policy restarts, the run must have lasted as long as the backoff wants for a restart without a
wait, and what it depends on must be running still. Everything else is left to the daemon as before.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from orchestra_supervisor.model.states import Condition, Desired, Kind
from orchestra_supervisor.rules.restart import Again, decide_restart, wants_restart
from orchestra_supervisor.rules.service import Service

__all__ = ["Successor", "successor_of"]

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Successor:
    """What follows a run by itself.

    Attributes:
        run: Id of the run that follows; it is that of the ended one, digested, so that none is used twice.
        min_life: Seconds that the run before it must have lasted.
        unless: Exit codes after which policy has none follow.
        needs: Runs that must be running for it to begin: those of the dependencies.
    """

    run: str
    min_life: float
    unless: tuple[int, ...]
    needs: tuple[str, ...]


def successor_of(service: Service, services: Mapping[str, Service]) -> Successor | None:
    """Return what is to follow the present run if nothing else is said, or None: that is decided at its end.

    Args:
        service: The service.
        services: All of them.
    """
    run, spec = service.run, service.spec
    if run is None or run.leader_ended or service.ending is not None or service.desired is not Desired.UP:
        return None
    if spec.kind is not Kind.DAEMON or spec.schedule is not None or spec.start_on == "connection":
        return None
    if spec.start is not None and not run.was_started:
        return None  # a start that fails is counted, and tried again after a wait
    needs = _needs(service, services)
    min_life = _min_life(service)
    if needs is None or min_life is None or not wants_restart(spec.restart, spec.kind, success=False):
        return None
    is_wanted_after_success = wants_restart(spec.restart, spec.kind, success=True)
    unless = () if is_wanted_after_success else tuple(spec.restart.success_exit_codes)
    digits = hashlib.sha256(run.id.encode()).hexdigest()[:_DIGITS]
    return Successor(f"{spec.name}-{digits}", min_life, unless, needs)


def _min_life(service: Service) -> float | None:
    """Return how long the run must last for a restart without a wait; None: there is none."""
    policy, run = service.spec.restart, service.run
    assert run is not None, "the caller looked"
    for lasted in (0.0, policy.stable_after):
        verdict = decide_restart(
            policy,
            attempts=service.attempts,
            recent=service.recent,
            lasted=lasted,
            now=run.ordered_mono,  # its end is later: no restart counts then that does not count now
            seed=run.id,
        )
        if isinstance(verdict, Again) and verdict.delay <= 0:
            return lasted
    return None


def _needs(service: Service, services: Mapping[str, Service]) -> tuple[str, ...] | None:
    """Return the runs that it depends on; None: what it depends on is not as it should be."""
    if service.unmet:
        return None
    needs: list[str] = []
    for name, dependency in service.spec.depends_on.items():
        other = services.get(name)
        if other is None:
            return None
        if dependency.condition is Condition.COMPLETED or other.spec.kind is not Kind.DAEMON:
            continue
        if other.run is None or other.ending is not None:
            return None
        needs.append(other.run.id)
    return tuple(needs)
