"""What every method of the interface works with: the fleet, the way to change it, its logs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from orchestra_supervisor.control import Control
from orchestra_supervisor.engine.reload import Reloader
from orchestra_supervisor.model.supervisord import SupervisorSpec
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault
from orchestra_supervisor.surfaces.xmlrpc.history import History
from orchestra_supervisor.surfaces.xmlrpc.logs import Logs
from orchestra_supervisor.surfaces.xmlrpc.names import Directory, Process

__all__ = ["Surroundings"]


@dataclass
class Surroundings:
    """What the interface is served with.

    Attributes:
        control: The verbs.
        reloader: Reads the files, and goes over to parts of what they say.
        spec: What the fleet is to supervisord's clients.
        log_path: Returns the log of a service.
        main_log: The log of the roles.
        keeper_pid: Whom signals for the whole are sent to.
        on_cleared: Told of a service whose log has been emptied.
        history: When processes that do not run were last started.
        logs: Reads logs.
        restarting: True while everything is being restarted: nobody is answered.
    """

    control: Control
    reloader: Reloader
    spec: SupervisorSpec
    log_path: Callable[[str], Path]
    main_log: Path
    keeper_pid: int
    on_cleared: Callable[[str], None] = lambda _: None
    history: History = field(init=False)
    logs: Logs = field(default_factory=Logs)
    restarting: bool = False

    def __post_init__(self) -> None:
        self.history = History(self.control.journal)

    @property
    def is_closing(self) -> bool:
        """True while the fleet goes down, or everything is being restarted."""
        return self.restarting or self.control.is_stopping()

    def check_open(self) -> None:
        """Refuse while nobody is answered.

        Raises:
            RpcFault: SHUTDOWN_STATE.
        """
        if self.is_closing:
            raise RpcFault(Fault.SHUTDOWN_STATE)

    @property
    def directory(self) -> Directory:
        """The processes as they are known now."""
        return Directory(one.spec for one in visible(self.control.supervisor.services).values())

    def service(self, process: Process) -> Service:
        """Return how a process stands.

        Raises:
            RpcFault: BAD_NAME: it has been let go of meanwhile.
        """
        found = self.control.supervisor.services.get(process.service)
        if found is None:
            raise RpcFault(Fault.BAD_NAME, process.namespec)
        return found
