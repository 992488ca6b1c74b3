"""What is done when files of a service have changed."""

from contextlib import suppress
from dataclasses import dataclass

from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.telling import Teller
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.states import Desired
from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.rules.replicas import group_of, members_of

__all__ = ["FileChanges"]


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Answers changes of files by the verbs that a person has."""

    supervisor: Supervisor
    verbs: Verbs
    teller: Teller
    clock: Clock

    async def act(self, name: str, watch: WatchSpec, why: str) -> bool:
        """Restart a service, or tell it to reload; one that is wanted down stays down.

        Returns:
            Whether there was anything to do.

        Raises:
            ConflictError: The service could not be told.
        """
        service = self.supervisor.services.get(name)
        if service is None or service.desired is Desired.DOWN:
            return False
        if self.supervisor.phase in {Phase.STOPPING, Phase.DOWN}:
            return False
        if watch.action == "reload":
            return bool(await self.teller.tell_to_reload(service, by_default=True))
        group = group_of(service.spec)
        rolls = self.supervisor.fleet.groups.get(group)
        if rolls is not None and rolls.update == "rolling":
            return await self._roll(name, group, why)
        self.verbs.restart([name], why, with_dependents=False)
        return True

    async def _roll(self, name: str, group: str, why: str) -> bool:
        """Have the replicas that run with older files restarted one after the other.

        Each replica sees the change by itself; whoever comes first begins the roll for all. Where it stops,
        because one does not become ready with the new files, the others are left alone.
        """
        roller, seen = self.supervisor.roller, self.clock.mono()
        while True:
            is_late = roller.is_rolling(group)
            await roller.wait_over([group])
            old = self._older(group, seen)
            if name not in old or (is_late and roller.fault_of(group)):
                return False
            with suppress(ConflictError):  # somebody else has begun one: it is looked at when that is over
                self.verbs.roll(old, why, 1)
                return True

    def _older(self, group: str, seen: float) -> list[str]:
        """Return the replicas that are up with a run from before an instant."""
        members, services = members_of(self.supervisor.fleet).get(group, ()), self.supervisor.services
        found: list[str] = []
        for member in members:
            one = services.get(member)
            if one is not None and one.desired is Desired.UP and one.run and one.run.ordered_mono < seen:
                found.append(member)
        return found
