"""Event listeners in a fleet: their pipes, and `@listeners`, which speaks with them.

No file describes `@listeners`: it is added where a fleet has event listeners, and starts with it.
"""

import sys
from pathlib import Path

from orchestra_supervisor.model.spec import BackoffSpec, Fleet, RestartSpec, ServiceSpec, StopSpec, StopStep
from orchestra_supervisor.model.supervisord import LISTENERS
from orchestra_supervisor.rules.listening import is_listener

__all__ = ["ListenerDesk"]

_RESTART = RestartSpec(
    policy="always",
    max_restarts=None,
    backoff=BackoffSpec(initial=0.1, cap=1.0, first_immediate=True),
    stable_after=10.0,
)
_STOP = StopSpec(steps=(StopStep(wait=2.0),))  # it may be killed at any time
_FIRST = -1_000_000_000  # its priority: it starts before all that it is to tell of


class ListenerDesk:
    """Adds what event listeners need to fleets.

    Args:
        home: The state directory, absolute.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def equip(self, fleet: Fleet) -> Fleet:
        """Return a fleet with pipes for its listeners and who speaks with them, or without."""
        services = {
            name: _piped(spec) if is_listener(spec) else spec
            for name, spec in fleet.services.items()
            if name != LISTENERS
        }
        if any(is_listener(spec) for spec in services.values()):
            services[LISTENERS] = self._spec()
        return fleet.model_copy(update={"services": services})

    def adopt(self, fleet: Fleet) -> Fleet:
        """Return a fleet as the last daemon had applied it; one of an older version is equipped."""
        has_listeners = any(is_listener(spec) for spec in fleet.services.values())
        return self.equip(fleet) if has_listeners and LISTENERS not in fleet.services else fleet

    def _spec(self) -> ServiceSpec:
        return ServiceSpec(
            name=LISTENERS,
            title="Event listeners",
            description="Tells event listeners of supervisord what happens, by their protocol.",
            argv=(sys.executable, "-P", "-m", "orchestra_supervisor.listeners"),
            cwd=str(self._home),
            priority=_FIRST,
            channel=True,
            restart=_RESTART,
            stop=_STOP,
        )


def _piped(spec: ServiceSpec) -> ServiceSpec:
    return spec if spec.stdio else spec.model_copy(update={"stdio": True})
