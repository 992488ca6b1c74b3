"""What is done when files of a service have changed."""

from dataclasses import dataclass

from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.engine.supervisor import Phase, Supervisor
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.states import Desired
from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.rules.service import Service

__all__ = ["FileChanges"]


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Answers changes of files by the verbs that a person has."""

    supervisor: Supervisor
    verbs: Verbs
    keeper: KeeperPort

    async def act(self, name: str, watch: WatchSpec, why: str) -> bool:
        """Restart a service, or tell it to reload; one that is wanted down stays down.

        Returns:
            Whether there was anything to do.

        Raises:
            ConflictError: The keeper refuses the signal, or the service is not told by one.
        """
        service = self.supervisor.services.get(name)
        if service is None or service.desired is Desired.DOWN:
            return False
        if self.supervisor.phase in {Phase.STOPPING, Phase.DOWN}:
            return False
        if watch.action == "reload":
            return await self.tell_to_reload(service)
        self.verbs.restart([name], why, with_dependents=False)
        return True

    async def tell_to_reload(self, service: Service) -> bool:
        """Tell the process of a service to read its configuration again; False where none runs."""
        run, told = service.run, service.spec.reload
        if run is None or run.pid is None or run.leader_ended:
            return False
        if told is not None and told.signal is None:
            raise ConflictError(
                f"{service.spec.name} is told by a command to reload, and a watch sends signals alone",
                hint="give it reload.signal, or the watch the action restart",
            )
        await self.keeper.signal(run.id, told.signal if told and told.signal else "SIGHUP", "leader")
        return True
