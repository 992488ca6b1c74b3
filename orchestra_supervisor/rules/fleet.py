"""Where the fleet as a whole stands: still starting, settled, down, or failed."""

from collections.abc import Mapping

from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.rules.demand import rests
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.service import Service

__all__ = ["STEADY", "failed_required", "is_well", "steady_at", "still_up", "tally", "unsettled"]

STEADY = 1.0
"""Seconds that a required service without a readiness or startup probe has to live before the fleet
counts as started: it shows nothing else, and many programs that cannot run take that long to say so."""

_DEAD_ENDS = frozenset({State.FAILED, State.STOPPED, State.COMPLETED})
"""States of a dependency that will not meet a condition it does not meet now, by itself."""


def unsettled(services: Mapping[str, Service], now: float) -> list[str]:
    """Return the wanted services that are still on their way somewhere.

    Settled are: ready (a required one without probes: for `STEADY` seconds), unhealthy, completed, failed,
    a `once` service that runs is not; a periodic one between its runs, or past its first; and a service
    that waits only for dependencies that are at a dead end themselves (it is blocked).
    """
    blocked: dict[str, bool] = {}
    return [
        name
        for name, service in visible(services).items()
        if service.desired is Desired.UP and not _is_settled(name, services, blocked, now)
    ]


def steady_at(service: Service) -> float | None:
    """Return the instant from which a ready service counts as started, or None: at once."""
    probes, run = service.spec.probes, service.run
    shows = service.spec.notify or probes.readiness or probes.startup
    if not service.spec.required_for_system or shows or run is None:
        return None
    return run.ordered_mono + STEADY


def _is_settled(name: str, services: Mapping[str, Service], blocked: dict[str, bool], now: float) -> bool:
    service, state = services[name], services[name].state
    if service.is_idle or service.listening or service.last is not None:
        return True
    if state is State.READY:
        steady = steady_at(service)
        return steady is None or steady <= now
    if state in {State.UNHEALTHY, State.COMPLETED, State.FAILED, State.STOPPED}:
        return True
    return state is State.WAITING and _is_blocked(name, services, blocked)


def _is_blocked(
    name: str, services: Mapping[str, Service], blocked: dict[str, bool], *, for_good: bool = False
) -> bool:
    """Return whether any unmet dependency is at a dead end, or itself blocked by one.

    A periodic service between its runs is one for the time being, and not `for_good`.
    """
    if name in blocked:
        return blocked[name]
    blocked[name] = False
    blocked[name] = any(
        _is_dead_end(dependency, services, blocked, for_good=for_good)
        for dependency, _ in services[name].unmet
    )
    return blocked[name]


def _is_dead_end(
    name: str, services: Mapping[str, Service], blocked: dict[str, bool], *, for_good: bool
) -> bool:
    service = services.get(name)
    if service is None:
        return True
    if service.is_idle and service.desired is Desired.UP:
        return not for_good
    if service.state in _DEAD_ENDS:
        return service.ending is None
    return service.state is State.WAITING and _is_blocked(name, services, blocked, for_good=for_good)


def failed_required(services: Mapping[str, Service]) -> list[str]:
    """Return the required services that cannot come up by themselves any more."""
    blocked: dict[str, bool] = {}
    return [
        name
        for name, service in services.items()
        if service.spec.required_for_system
        and service.desired is Desired.UP
        and (
            service.state is State.FAILED
            or (service.state is State.WAITING and _is_blocked(name, services, blocked, for_good=True))
        )
    ]


def is_well(service: Service) -> bool:
    """Return whether a service does or has done what it is for.

    A periodic one may wait for its first run, others for a connection or for somebody who asks for them.
    """
    state = service.state
    if state is State.READY or state is State.COMPLETED:
        return True
    is_planned = state is State.WAITING and service.is_idle
    return is_planned or service.listening or (state is State.STOPPED and rests(service))


def tally(services: Mapping[str, Service]) -> tuple[int, int]:
    """Return how many services are well, and how many there are; those of our own do not count."""
    told = visible(services).values()
    return sum(map(is_well, told)), len(told)


def still_up(services: Mapping[str, Service]) -> list[str]:
    """Return the services of which something runs, or is wanted to."""
    return [name for name, one in services.items() if one.run is not None or one.desired is Desired.UP]
