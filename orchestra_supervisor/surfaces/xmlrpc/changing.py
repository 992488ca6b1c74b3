"""Changing the fleet: files read anew, groups taken in and let go of, everything restarted or shut down.

supervisord keeps apart what its file said when it was last read and what is active; so do we here. What was
read is gone over to group by group, as its clients ask for it: `orchestra reload` does all of it at once.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from orchestra_supervisor.model.caller import Principal
from orchestra_supervisor.model.errors import ConfigError, ConflictError, JournalError, OrchestraError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason
from orchestra_supervisor.rules.graph import find_cycle
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.replicas import group_of
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault, fault_of
from orchestra_supervisor.surfaces.xmlrpc.names import Directory, process_of
from orchestra_supervisor.surfaces.xmlrpc.states import STOPPED_STATES, state_of
from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings

__all__ = ["REMOTE_EVENT", "REMOTE_LIMIT", "Changing", "Task", "with_group", "without_group"]

REMOTE_EVENT = "supervisor.remote_communication"
"""Kind of the event that `sendRemoteCommEvent` makes; its data has `type` and `data`."""
REMOTE_LIMIT = 64 * 1024
"""Characters of it: the journal keeps it."""

Task = Callable[[], Awaitable[None]]


class Changing:
    """The methods that change the fleet as a whole.

    Args:
        around: The fleet.
        start: Runs a task that outlives the call.
    """

    def __init__(self, around: Surroundings, start: Callable[[Task], object]) -> None:
        self._around = around
        self._control = around.control
        self._start = start
        self._read: Fleet | None = None
        self._reloads = 0

    @property
    def read(self) -> Fleet:
        """The fleet as its files said when they were last read, by whomever."""
        if self._read is None or self._reloads != self._around.reloader.reloads:
            return self._control.supervisor.fleet
        return self._read

    async def reload_config(self) -> list[object]:
        """Read the files; return the names of groups that are new, other than they were, and gone."""
        try:
            read = await self._around.reloader.read()
        except ConfigError as error:
            raise RpcFault(Fault.CANT_REREAD, error.message) from error
        fleet = self._control.supervisor.fleet
        self._read, self._reloads = read, self._around.reloader.reloads
        active = _groups({**fleet.services, **fleet.coming})
        found = _groups(read.services)
        in_order = sorted(
            Directory(visible(read.services).values()).groups.values(),
            key=lambda one: (one.priority, one.name),
        )
        names = [group.name for group in in_order]
        added = [name for name in names if name not in active]
        changed = [name for name in names if name in active and active[name] != found[name]]
        removed = [name for name in active if name not in found]
        return [[added, changed, removed]]

    async def add_group(self, who: Principal, name: str) -> bool:
        """Take in a group of the files; it starts unless something keeps it down."""
        read = self.read
        if name not in _groups(read.services):
            raise RpcFault(Fault.BAD_NAME, name)
        if name in self._around.directory.groups:
            raise RpcFault(Fault.ALREADY_ADDED, name)
        for service in _groups(read.services)[name]:
            await self._forget_hold(service)
        await self._change(who, "add_group", name, lambda fleet: with_group(fleet, read, name))
        return True

    async def remove_group(self, who: Principal, name: str) -> bool:
        """Let go of a group of which nothing runs."""
        group = self._around.directory.groups.get(name)
        if group is None:
            raise RpcFault(Fault.BAD_NAME, name)
        if not all(state_of(self._around.service(one)) in STOPPED_STATES for one in group.processes):
            raise RpcFault(Fault.STILL_RUNNING, name)
        await self._change(who, "remove_group", name, lambda fleet: without_group(fleet, name))
        return True

    async def _change(self, who: Principal, verb: str, group: str, make: Callable[[Fleet], Fleet]) -> None:
        # The files say what they said: a group that goes now can come back.
        self._read, self._reloads = self.read, self._around.reloader.reloads
        try:
            await self._around.reloader.change(make)
        except OrchestraError as error:
            raise fault_of(error, group, is_stopping=self._around.is_closing) from error
        await self._audit(who, verb, group)

    async def _forget_hold(self, service: str) -> None:
        if service in self._control.journal.holds():
            await self._control.journal.clear_hold(service)

    async def _audit(self, who: Principal, verb: str, group: str) -> None:
        data: dict[str, object] = {"who": who.name, "verb": verb, "names": [group]}
        event = Event(f"control.{verb}", f"{who.name}: {verb} {group}", self._control.clock.wall(), data=data)
        try:
            self._control.bus.hand_on(await self._control.journal.record(event))
        except JournalError:
            return  # the deed is done; the journal itself reports its trouble

    # The whole.

    async def shutdown(self, who: Principal) -> bool:
        """Take the fleet down."""
        await self._control.shutdown(who, "asked for by a client of supervisord")
        return True

    async def restart(self, who: Principal) -> bool:
        """Read the files and give everything that is to run a new run; answered before it is done."""
        self._around.restarting = True
        self._start(partial(self._restart, who))
        return True

    async def _restart(self, who: Principal) -> None:
        supervisor = self._control.supervisor
        before = {one.run.id for one in supervisor.services.values() if one.run is not None}
        try:
            await self._audit(who, "restart_all", "all")
            with suppress(ConfigError):  # told as `config.refused`; better the fleet as it was than none
                await self._around.reloader.reload(who.name)
            why = f"everything is restarted by {who.name}"
            specs = supervisor.fleet.services
            wanted = [
                name
                for name, spec in specs.items()
                if spec.enabled and _may_start(supervisor.services[name].down_reason)
            ]
            others = [
                name
                for name in specs
                if name not in wanted and supervisor.services[name].desired is Desired.UP
            ]
            for name in wanted:
                await self._forget_hold(name)
            self._control.verbs.stop(others, why, with_dependents=False)
            self._control.verbs.restart(wanted, why, with_dependents=True)
            await supervisor.commit()
            while any(one.run is not None and one.run.id in before for one in supervisor.services.values()):
                await supervisor.core.wait_changed()
        except OrchestraError as error:
            self._control.bus.publish("config.refused", f"not everything was restarted: {error.message}")
        finally:
            self._around.restarting = False

    # A word to listeners.

    async def send_remote_event(self, kind: str, data: str) -> bool:
        """Publish an event that clients send to event listeners."""
        if len(kind) + len(data) > REMOTE_LIMIT:
            raise RpcFault(Fault.BAD_ARGUMENTS, f"more than {REMOTE_LIMIT} characters")
        self._control.bus.publish(
            REMOTE_EVENT, f"an event of type {kind[:80]!r} from a client", data={"type": kind, "data": data}
        )
        return True


def _may_start(reason: DownReason) -> bool:
    return reason in {DownReason.NONE, DownReason.OPERATOR}


def _groups(services: dict[str, ServiceSpec]) -> dict[str, dict[str, ServiceSpec]]:
    found: dict[str, dict[str, ServiceSpec]] = {}
    for name, spec in visible(services).items():
        found.setdefault(process_of(spec).group, {})[name] = spec
    return found


def with_group(fleet: Fleet, read: Fleet, group: str) -> Fleet:
    """Return a fleet and a group of another.

    Raises:
        ConflictError: A name is taken, or a dependency comes full circle.
    """
    coming = _groups(read.services).get(group, {})
    taken = [name for name in coming if name in fleet.services]
    if taken:
        raise ConflictError(f"{group}: {', '.join(taken)} is in the fleet already, in another group")
    services = {**fleet.services, **coming}
    cycle = find_cycle({name: tuple(spec.depends_on) for name, spec in services.items()})
    if cycle:
        raise ConflictError(f"{group}: dependencies form a cycle: {' -> '.join(cycle)}")
    shared = {group_of(spec) for spec in coming.values()}
    groups = {**fleet.groups, **{name: one for name, one in read.groups.items() if name in shared}}
    return fleet.model_copy(update={"services": services, "groups": groups})


def without_group(fleet: Fleet, group: str) -> Fleet:
    """Return a fleet without one of its groups."""
    going = _groups(fleet.services).get(group, {})
    shared = {group_of(spec) for spec in going.values()}
    services = {name: spec for name, spec in fleet.services.items() if name not in going}
    groups = {name: one for name, one in fleet.groups.items() if name not in shared}
    return fleet.model_copy(update={"services": services, "groups": groups})
