"""The gateway as a service of the fleet: `@gateway`, started by the first connection to its sockets.

No file describes it. It is added to whatever the files say, unless they say `settings.mcp: false`, and costs
a listening socket until somebody connects. Its HTTP port may be somebody else's: then it is served without,
which is told, and the port is tried now and then until it is free.
"""

import math
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.model.equipment import LimitsSpec, SocketSpec
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.mcp import GATEWAY, GATEWAY_SOCKET, HTTP_SOCKET, split_address
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    Fleet,
    RestartSpec,
    Seconds,
    ServiceSpec,
    StopSpec,
    StopStep,
)
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.process.ports import is_busy
from orchestra_supervisor.rules.inputs import Boot, Respec, Restart, Stop
from orchestra_supervisor.rules.service import Service

__all__ = ["COMMAND_VARIABLE", "GatewayDesk", "PlaceSocket", "gateway_pid", "http_address"]

COMMAND_VARIABLE = "ORCHESTRA_GATEWAY_COMMAND"
"""Environment variable with another command line to run as the gateway."""
RETRY: Seconds = 30.0
"""Between two looks whether a port that was somebody else's is free."""

_MEMORY = 2 * 1024**3  # bytes; a hundred clients on thousands of tools take a tenth
_RESTART = RestartSpec(
    policy="on-failure",  # one that ends by itself has nobody to talk to, and waits for the next connection
    max_restarts=None,
    backoff=BackoffSpec(initial=0.5, cap=30.0),
    stable_after=10.0,
)
_STOP = StopSpec(steps=(StopStep(wait=5.0),))

PlaceSocket = Callable[[Path, str | None], Path]
"""Returns where a Unix socket is to be for a wanted path and a group: over the system's limit, elsewhere."""


class GatewayDesk:
    """Adds the gateway to fleets, and looks after its sockets.

    Args:
        home: The state directory, absolute.
        place: Finds a place for its Unix socket.
        environ: Of the daemon.
    """

    def __init__(self, home: Path, place: PlaceSocket, environ: Mapping[str, str]) -> None:
        self._home = home
        self._place = place
        self._environ = environ
        self._refused = ""
        """The HTTP address that could not be had."""

    def equip(self, fleet: Fleet) -> Fleet:
        """Return a fleet with its gateway, or without where its settings want none.

        Raises:
            ConfigError: There is no such control group.
            ConflictError: There is no place for its socket.
        """
        services = {name: spec for name, spec in fleet.services.items() if name != GATEWAY}
        if fleet.settings.mcp.enabled:
            services[GATEWAY] = self._spec(fleet)
        return fleet.model_copy(update={"services": services})

    def adopt(self, fleet: Fleet) -> Fleet:
        """Return a fleet as the last daemon had applied it; one of an older version gets a gateway."""
        if not fleet.settings.mcp.enabled or GATEWAY in fleet.services:
            if fleet.settings.mcp.enabled and http_address(fleet) is None:
                self._refused = fleet.settings.mcp.http or ""
            return fleet
        return self.equip(fleet)

    def _spec(self, fleet: Fleet) -> ServiceSpec:
        settings = fleet.settings
        group = settings.control_group
        place = self._place(self._home / "mcp.sock", group)
        mode = 0o660 if group else 0o600
        sockets = [SocketSpec(name=GATEWAY_SOCKET, kind="unix", path=str(place), mode=mode, group=group)]
        if settings.mcp.http is not None and settings.mcp.http != self._refused:
            host, port = split_address(settings.mcp.http)
            sockets.append(SocketSpec(name=HTTP_SOCKET, host=host, port=port))
        own = self._environ.get(COMMAND_VARIABLE, "")
        command = shlex.split(own) or [sys.executable, "-P", "-m", "orchestra_supervisor.gateway"]
        return ServiceSpec(
            name=GATEWAY,
            title="MCP gateway",
            description="Talks MCP: the control tools, and all MCP servers behind one endpoint.",
            argv=tuple(command),
            cwd=str(self._home),
            sockets=tuple(sockets),
            start_on="connection",
            channel=True,
            restart=_RESTART,
            stop=_STOP,
            limits=LimitsSpec(memory=_MEMORY),
        )

    # Its sockets.

    async def run(
        self, supervisor: Supervisor, keep: Callable[[Fleet], None], bus: EventBus, clock: Clock
    ) -> None:
        """Look after the sockets until cancelled.

        Args:
            supervisor: Runs the fleet.
            keep: Makes a fleet the applied one.
            bus: Where it is told.
            clock: Time.
        """
        await supervisor.taken_over.wait()
        look_again = math.inf
        while True:
            if not self._refused and (fault := _http_fault(supervisor)):
                self._refused = supervisor.fleet.settings.mcp.http or ""
                self._go_over(supervisor, keep)
                text = f"MCP is not served over HTTP until the port is free: {fault}; `orchestra mcp` works"
                bus.publish("gateway.http_refused", text, service=GATEWAY)
            settings = supervisor.fleet.settings.mcp
            if self._refused and (self._refused != settings.http or not settings.enabled):
                self._refused = ""  # another address is wanted by now, or none
            if not self._refused:
                look_again = math.inf
            elif look_again == math.inf:
                look_again = clock.mono() + RETRY
            with anyio.move_on_after(max(0.0, look_again - clock.mono())):
                await supervisor.core.wait_changed()
            if clock.mono() >= look_again:
                look_again = clock.mono() + RETRY
                host, port = split_address(self._refused)
                if not is_busy(host, port):
                    self._refused = ""
                    self._go_over(supervisor, keep)
                    bus.publish("gateway.http_back", "MCP is served over HTTP again", service=GATEWAY)

    def _go_over(self, supervisor: Supervisor, keep: Callable[[Fleet], None]) -> None:
        """Give the gateway the sockets that it can have now."""
        if supervisor.phase not in {Phase.STARTING, Phase.RUNNING}:
            return
        fleet = self.equip(supervisor.fleet)
        with suppress(ConflictError):  # a full disk: the next daemon finds out anew
            keep(supervisor.roller.written(fleet))
        core, service = supervisor.core, supervisor.services[GATEWAY]
        core.post(GATEWAY, Respec(fleet.services[GATEWAY]))
        supervisor.rewire(fleet)
        if service.run is not None or service.listening:
            core.post(GATEWAY, Restart("its sockets changed"))
        elif service.down_reason is DownReason.NONE:
            core.post(GATEWAY, Stop(DownReason.NONE, "its sockets changed"))
            core.post(GATEWAY, Boot(DownReason.NONE))


def gateway_pid(services: Mapping[str, Service]) -> int | None:
    """Return the pid of the gateway, or None: it does not run."""
    service = services.get(GATEWAY)
    run = None if service is None else service.run
    return None if run is None or run.leader_ended else run.pid


def http_address(fleet: Fleet) -> str | None:
    """Return where the gateway of a fleet serves MCP over HTTP, or None: it does not, now."""
    spec = fleet.services.get(GATEWAY)
    return next((one.address for one in spec.sockets if one.name == HTTP_SOCKET), None) if spec else None


def _http_fault(supervisor: Supervisor) -> str:
    """Return why the HTTP socket could not be opened, or nothing."""
    service = supervisor.services.get(GATEWAY)
    if service is None or service.state not in {State.FAILED, State.BACKOFF}:
        return ""
    _, found, rest = service.reason.partition(f"socket {HTTP_SOCKET} on ")
    return rest if found and http_address(supervisor.fleet) is not None else ""
