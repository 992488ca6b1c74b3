"""What the services use, as the control API tells it: now, and in the past."""

from orchestra_supervisor.control import Control
from orchestra_supervisor.model.figures import ROLE_PREFIX, FigureQuery, Figures
from orchestra_supervisor.rules.naming import visible

__all__ = ["FigureTeller"]


class FigureTeller:
    """Answers questions about figures; where the fleet has no meter, everything is unknown.

    Args:
        control: Of the daemon.
    """

    def __init__(self, control: Control) -> None:
        self._control = control

    def latest(self, name: str) -> dict[str, object] | None:
        """Return the newest figures of a service, or of ROLE_PREFIX and one of our own processes."""
        meter = self._control.meter
        figures = None if meter is None else meter.latest.get(name)
        return None if figures is None else figures.to_dict()

    async def overview(self, since: float | None) -> dict[str, object]:
        """Return the figures of everybody; who asks is watching.

        Args:
            since: Seconds ago from which the history of everybody is told too; None: without history.

        Raises:
            JournalError: The history cannot be read.
        """
        meter = self._control.meter
        if meter is not None:
            meter.look()
        roles = ["keeper", "logger", "daemon"]
        roles += ["gateway"] if self.latest(f"{ROLE_PREFIX}gateway") else []  # it is there when it is needed
        answer: dict[str, object] = {
            "period": 0.0 if meter is None else meter.period(),
            "services": {name: self.latest(name) for name in visible(self._control.supervisor.services)},
            "roles": {role: self.latest(ROLE_PREFIX + role) for role in roles},
        }
        if since is not None:
            past = await self._past(since, "")
            answer["history"] = {
                name: [[one.at, one.cpu, one.memory] for one in figures] for name, figures in past.items()
            }
        return answer

    async def history(self, name: str, since: float) -> dict[str, object]:
        """Return the figures of one service, from `since` seconds ago on, the oldest first.

        Raises:
            JournalError: They cannot be read.
        """
        past = await self._past(since, name)
        samples = [one.to_dict() for one in past.get(name, ())]
        return {"name": name, "now": self.latest(name), "samples": samples}

    async def _past(self, since: float, name: str) -> dict[str, list[Figures]]:
        control = self._control
        return await control.journal.figures(FigureQuery(control.clock.wall() - since, name))
