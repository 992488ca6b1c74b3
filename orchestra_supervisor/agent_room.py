"""What those who speak for somebody else ask of the daemon besides the verbs: the room beside `control`.

The gateway asks here on behalf of its clients: to have it written down what they did, to look at services
now, to see the configuration, to apply files that stand on the disk. Reading is for every caller; what is
written down counts as the word of the user of the socket, so that only the fleet's owner may do it.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import anyio
from anyio import to_thread

from orchestra_supervisor.config.plan import PlanReport
from orchestra_supervisor.config.ports import PortOwner, listeners
from orchestra_supervisor.config.redacted import redacted_fleet, shown_command
from orchestra_supervisor.control import Control
from orchestra_supervisor.engine.asked_checks import AskedChecks, CheckResult, ServiceCheck
from orchestra_supervisor.model.caller import Principal, Role
from orchestra_supervisor.model.errors import ConflictError, ControlDenied, InvalidRequest
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.process.orders import slot_of
from orchestra_supervisor.process.tree import ProcessNote, tree_of
from orchestra_supervisor.rules.new_commands import new_commands
from orchestra_supervisor.rules.reload import ReloadPlan

__all__ = ["AUDIT_PREFIX", "AgentRoom"]

AUDIT_PREFIX = "mcp."
"""Begins the kind of every event that is written down for somebody: nobody forges those of our own."""
_PROCESSES = 200  # of one run, that are told
_WORDS = 12  # of a command
_COMMAND = 200  # characters of them
_LOOK_LIMIT = 5.0  # seconds for a look at the processes of a run
_DATA_LIMIT = 16 * 1024  # characters of what an event brings


@dataclass
class AgentRoom:
    """Serves those who speak for others.

    Attributes:
        control: Knows names and events.
        checks: Runs probes.
        apply_files: Reads the files and goes over to them, if what it is given allows the plan.
        keeper_pid: Of the process that holds sockets for services.
    """

    control: Control
    checks: AskedChecks
    apply_files: Callable[[str, Callable[[ReloadPlan], None]], Awaitable[PlanReport]]
    keeper_pid: int

    def __post_init__(self) -> None:
        self._threads = anyio.CapacityLimiter(2)

    async def audit(
        self, user: Principal, kind: str, message: str, service: str, data: dict[str, object]
    ) -> Event:
        """Write down what somebody did, on disk before it is answered.

        Args:
            user: Of the socket.
            kind: Begins with `mcp.`.
            message: One line for people.
            service: Whom it concerns, or empty.
            data: Further facts, JSON-ready, never secrets.

        Raises:
            ControlDenied: The user is not the owner of the fleet.
            InvalidRequest: Another kind, or too much.
            JournalError: It could not be written.
        """
        if user.role < Role.ADMIN:
            raise ControlDenied(f"{user.name} may not write into the audit", hint="the fleet's owner may")
        if not kind.startswith(AUDIT_PREFIX):
            raise InvalidRequest(f"kind={kind!r} does not begin with {AUDIT_PREFIX}")
        if len(json.dumps(data)) > _DATA_LIMIT:
            raise InvalidRequest(
                f"data is over {_DATA_LIMIT} characters", hint="say the shape, not the whole"
            )
        told = "".join(char if char.isprintable() else "?" for char in message)
        event = Event(kind, told, self.control.clock.wall(), service, data={**data, "by": user.name})
        event = await self.control.journal.record(event)
        self.control.bus.hand_on(event)
        return event

    async def check(self, names: Iterable[str], ports: Iterable[int]) -> dict[str, object]:
        """Run the probes of services now, and say who listens on their ports.

        Args:
            names: Names, globs, `all`; none: nobody is checked.
            ports: Further TCP ports that are asked about.

        Raises:
            UnknownService: A name matches nothing.
        """
        wanted = list(names)
        chosen = self.control.resolve(wanted) if wanted else []
        found = await self.checks.check(chosen)
        services = self.control.supervisor.services
        of_services = {name: services[name].spec.port for name in chosen if name in services}
        asked = {*ports, *(port for port in of_services.values() if port is not None)}
        owners: Mapping[int, PortOwner] = {}
        if asked:
            owners = await to_thread.run_sync(listeners, limiter=self._threads)
        results = [_told(one) | {"port": of_services.get(one.name)} for one in found]
        return {"results": results, "ports": [self._port(port, owners.get(port)) for port in sorted(asked)]}

    def _port(self, port: int, owner: PortOwner | None) -> dict[str, object]:
        """Return who listens on a port: a process, and the service it belongs to, where it is ours."""
        if owner is None:
            return {"port": port, "busy": False, "pid": None, "process": "", "service": None}
        service = slot_of(owner.run) if owner.run else None
        if service is None and owner.pid is not None:
            service = self._service_of(port, owner.pid)
        return {"port": port, "busy": True, "pid": owner.pid, "process": owner.name, "service": service}

    def _service_of(self, port: int, pid: int) -> str | None:
        for name, service in self.control.supervisor.services.items():
            run = service.run
            if run is not None and pid in {run.pid, run.main_pid}:
                return name
            if pid == self.keeper_pid and any(one.port == port for one in service.spec.sockets):
                return name
        return None

    async def processes(self, name: str) -> dict[str, object]:
        """Return the processes of a service's present run, each after its parent.

        Args:
            name: Of the service.

        Raises:
            UnknownService: There is none.
        """
        name = self.control.resolve([name])[0]
        run = self.control.supervisor.services[name].run
        found: list[ProcessNote] = []
        if run is not None and run.pid is not None:
            look = partial(tree_of, run.pid, run.id, self.keeper_pid)
            with anyio.move_on_after(_LOOK_LIMIT):  # one that is stuck in the kernel may hold whoever looks
                found = await to_thread.run_sync(look, limiter=self._threads, abandon_on_cancel=True)
        told = [_process(one) for one in found[:_PROCESSES]]
        return {
            "name": name,
            "run": run.id if run is not None else None,
            "count": len(found),
            "processes": told,
        }

    async def config(self, names: Iterable[str]) -> dict[str, object]:
        """Return the fleet as applied, fit to be shown: see `config.redacted`.

        Raises:
            UnknownService: A name matches nothing.
        """
        fleet = self.control.supervisor.fleet
        wanted = list(names)
        chosen = tuple(self.control.resolve(wanted)) if wanted else ()
        show = partial(redacted_fleet, fleet, chosen)
        return {"fleet": await to_thread.run_sync(show, limiter=self._threads)}

    async def apply(self, who: Principal) -> PlanReport:
        """Go over to the files as they stand, unless that would run anything that does not run already.

        Raises:
            ControlDenied: The caller is no admin.
            ConflictError: New services, other commands, users, plugins or rights: an owner reloads those.
            ConfigError: A file is wrong.
        """
        if who.role < Role.ADMIN:
            raise ControlDenied(f"{who.name} is {who.role.name.lower()}, this needs admin")
        return await self.apply_files(who.name, _allow)


def _allow(plan: ReloadPlan) -> None:
    found = new_commands(plan)
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise ConflictError(
            f"not applied: {'; '.join(found[:5])}{more}",
            hint="look at it with `orchestra plan`; a person applies it with `orchestra reload`",
            found=list(found[:50]),
        )


def _process(one: ProcessNote) -> dict[str, object]:
    line = " ".join(" ".join(shown_command(one.command[:_WORDS])).split())
    is_cut = len(one.command) > _WORDS or len(line) > _COMMAND
    command = f"{line[:_COMMAND]} ..." if is_cut else line
    return {"pid": one.pid, "parent": one.parent, "command": command, "cpu": one.cpu, "memory": one.memory}


def _told(one: ServiceCheck) -> dict[str, object]:
    probes = [_probe(result) for result in one.results]
    passed = all(result.passed for result in one.results) if one.results else None
    return {"name": one.name, "state": one.state, "passed": passed, "probes": probes, "note": one.note}


def _probe(result: CheckResult) -> dict[str, object]:
    return {**asdict(result), "took": round(result.took, 4)}
