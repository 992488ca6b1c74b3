"""Services that start on demand: who asks for one, and who may.

Such a service rests in `stopped` until somebody starts it, which is as good as being up: it is neither
missing nor failed. A stop by hand is something else, and stronger than any demand: only a start by hand
undoes it. Whoever depends on such a service and is wanted up asks for it by that alone.
"""

from collections.abc import Iterable, Mapping

from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.service import Service

__all__ = ["callers", "calls_for", "refusal", "rests"]


def rests(service: Service) -> bool:
    """Return whether a service waits for somebody to ask for it."""
    return service.desired is Desired.DOWN and service.down_reason is DownReason.DEMAND


def calls_for(service: Service) -> bool:
    """Return whether a service asks for what it depends on: it is wanted up, and not at a dead end."""
    return service.desired is Desired.UP and not service.is_at_rest


def callers(name: str, dependents: Iterable[str], services: Mapping[str, Service]) -> list[str]:
    """Return the dependents of a service that ask for it now."""
    found = (services.get(other) for other in dependents if other != name)
    return [one.spec.name for one in found if one is not None and calls_for(one)]


def refusal(service: Service) -> str:
    """Return why a service is not to be started on somebody's demand; empty: it may be."""
    if service.desired is Desired.DOWN:
        return {
            DownReason.OPERATOR: "was stopped by hand",
            DownReason.DISABLED: "is disabled in the configuration",
            DownReason.NOT_SELECTED: "was left out by --only",
            DownReason.SHUTDOWN: "goes down with the fleet",
            DownReason.REMOVED: "is no longer in the configuration",
        }.get(service.down_reason, "")
    return f"has failed: {service.reason}" if service.state is State.FAILED else ""
