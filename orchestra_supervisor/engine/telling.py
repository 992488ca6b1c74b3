"""Telling a running service to read its own configuration again: by its signal, or by its command."""

from dataclasses import dataclass

from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.rules.service import Service

__all__ = ["Teller"]

_DEFAULT_SIGNAL = "SIGHUP"


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells services, for whoever asks: a person, a changed file, a changed secret."""

    supervisor: Supervisor
    keeper: KeeperPort

    async def tell_to_reload(self, service: Service, *, by_default: bool = False) -> str:
        """Tell the process of a service to read its configuration again.

        Args:
            service: Whom; one that does not run is told nothing.
            by_default: A service without `reload` gets SIGHUP.

        Returns:
            What was done, for people; empty: nothing runs.

        Raises:
            ConflictError: It cannot be told, the keeper refuses, or its command failed.
        """
        run, spec = service.run, service.spec
        if run is None or run.pid is None or run.leader_ended:
            return ""
        told = spec.reload
        if told is None and not by_default:
            raise ConflictError(
                f"{spec.name} has no `reload`: it cannot be told to read its configuration again",
                hint=f'give it "reload": "SIGHUP" or a command, or `orchestra restart {spec.name}`',
            )
        if told is not None and told.command is not None:
            outcome = await self.supervisor.run_beside(spec, "reload", told.command)
            if not outcome.passed:
                raise ConflictError(
                    f"the reload command of {spec.name} failed: {outcome.detail}",
                    hint=f"its output is in {spec.name}.probe.log; the service runs on as it was",
                )
            return f"told by {told.command.argv[0]}"
        name = told.signal if told is not None and told.signal is not None else _DEFAULT_SIGNAL
        await self.keeper.signal(run.id, name, "leader")
        return f"sent {name}"
