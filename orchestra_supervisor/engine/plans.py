"""How far each periodic service has come with its schedule, told to whoever keeps it beyond this fleet.

The notes carry a plan over a daemon's death. After a full downtime, what was missed is known from this.
"""

from collections.abc import Callable, Container, Mapping

from orchestra_supervisor.model.states import Desired, DownReason
from orchestra_supervisor.rules.service import Service

__all__ = ["PlanLedger"]


class PlanLedger:
    """Tells what has changed since it was told last.

    Args:
        tell: Takes a service's name and the wall instant up to which its planned runs have been dealt
            with; None: it is wanted down, and runs that come due are not missed.
    """

    def __init__(self, tell: Callable[[str, float | None], None]) -> None:
        self._tell = tell
        self._told: dict[str, float] = {}

    def begin(self, told: Mapping[str, float], known: Container[str]) -> None:
        """Take up what an earlier fleet or daemon told, of the services that are still known."""
        self._told = dict(told)
        for name in told:
            if name not in known:
                self.forget(name)

    def reached(self, name: str) -> float | None:
        """Return how far an earlier fleet came with a service's schedule, or None."""
        return self._told.get(name)

    def look(self, service: Service) -> None:
        """Tell how far a service has come, unless that is known."""
        is_in_force = service.desired is Desired.UP or service.down_reason is DownReason.SHUTDOWN
        plan = service.plan if is_in_force else None
        name = service.spec.name
        if plan is None:
            self.forget(name)
        else:
            reached = plan.wall
            if self._told.get(name) != reached:
                self._told[name] = reached
                self._tell(name, reached)

    def forget(self, name: str) -> None:
        """Tell that a service goes by no schedule now."""
        if self._told.pop(name, None) is not None:
            self._tell(name, None)
