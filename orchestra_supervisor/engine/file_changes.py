"""What is done when files of a service have changed."""

from dataclasses import dataclass

from orchestra_supervisor.engine.supervisor import Phase, Supervisor
from orchestra_supervisor.engine.telling import Teller
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.states import Desired
from orchestra_supervisor.model.watch import WatchSpec

__all__ = ["FileChanges"]


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Answers changes of files by the verbs that a person has."""

    supervisor: Supervisor
    verbs: Verbs
    teller: Teller

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
        self.verbs.restart([name], why, with_dependents=False)
        return True
