"""What event listeners ask of a fleet: to go down after all others, and supervisord's words for ends."""

from collections.abc import Mapping

from orchestra_supervisor.model.mcp import OWN_PREFIX
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.model.supervisord import LISTENERS
from orchestra_supervisor.rules.graph import below
from orchestra_supervisor.rules.restart import wants_restart
from orchestra_supervisor.rules.service import Service

__all__ = ["is_given_up", "is_listener", "stop_after"]


def is_listener(spec: ServiceSpec) -> bool:
    """Return whether a service speaks the protocol of event listeners on its stdin and stdout."""
    return spec.supervisor is not None and spec.supervisor.kind == "eventlistener"


def stop_after(services: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Return whom services wait for when the whole fleet goes down, besides their dependents.

    Listeners hear of the end of all others, but of those that they themselves need; and who speaks with them
    is there until the last of them is down.
    """
    specs = {name: service.spec for name, service in services.items()}
    listeners = [name for name, spec in specs.items() if is_listener(spec)]
    if not listeners:
        return {}
    others = [name for name in specs if not name.startswith(OWN_PREFIX) and name not in listeners]
    waits: dict[str, tuple[str, ...]] = {}
    for name in listeners:
        needed = below([name], specs)
        waits[name] = tuple(
            other for other in others if other not in needed and name not in specs[other].depends_on
        )
    if LISTENERS in specs:
        waits[LISTENERS] = tuple(listeners)
    return waits


def is_given_up(service: Service) -> bool:
    """Return whether a failed service is FATAL to supervisord: it would run again, if it were still tried.

    Else it is EXITED: it has run, has ended, and that is all it was to do.
    """
    if service.state is not State.FAILED:
        return False
    ended = service.exit is not None and (service.exit.code is not None or service.exit.signal is not None)
    wanted = wants_restart(service.spec.restart, service.spec.kind, success=False)
    return not ended or wanted or service.failed_starts > 0
