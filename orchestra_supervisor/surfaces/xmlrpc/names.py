"""Groups and processes by supervisord's names, out of services by ours.

A service that a supervisord.conf describes says its names; for any other the group is the name that its
replicas share, or its own. Names are `process`, `group:process`, `group:*` and `group:`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault

__all__ = ["Directory", "Group", "Process", "namespec", "process_of", "split_namespec"]


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a group.

    Attributes:
        service: Our name of it.
        group: Its group.
        name: Its name within the group.
        priority: Its place in the group, lower first.
        group_priority: The group's place among groups.
    """

    service: str
    group: str
    name: str
    priority: int
    group_priority: int

    @property
    def namespec(self) -> str:
        """Return the short name where group and process are called the same."""
        return namespec(self.group, self.name)


@dataclass(slots=True)
class Group:
    """A group and its processes, in the order of their priorities."""

    name: str
    processes: list[Process] = field(default_factory=list[Process])

    @property
    def priority(self) -> int:
        """Return its place among groups."""
        return min((one.group_priority for one in self.processes), default=999)


class Directory:
    """The processes of a fleet by group and name.

    Args:
        specs: The services.
    """

    def __init__(self, specs: Iterable[ServiceSpec]) -> None:
        groups: dict[str, Group] = {}
        for spec in specs:
            process = process_of(spec)
            groups.setdefault(process.group, Group(process.group)).processes.append(process)
        for group in groups.values():
            group.processes.sort(key=lambda one: (one.priority, one.name))
        self.groups = groups

    def by_priority(self) -> list[Process]:
        """Return all processes in the order in which supervisord starts and stops them."""
        groups = sorted(self.groups.values(), key=lambda one: (one.priority, one.name))
        return [process for group in groups for process in group.processes]

    def by_name(self) -> list[Process]:
        """Return all processes by group and name."""
        return sorted(self.by_priority(), key=lambda one: (one.group, one.name))

    def group(self, name: str) -> Group:
        """Return a group.

        Raises:
            RpcFault: BAD_NAME.
        """
        found = self.groups.get(name)
        if found is None:
            raise RpcFault(Fault.BAD_NAME, name)
        return found

    def find(self, name: str) -> Process | Group:
        """Return the process, or for `group:*` the group, that a name means.

        Raises:
            RpcFault: BAD_NAME.
        """
        group_name, process_name = split_namespec(name)
        group = self.groups.get(group_name)
        if group is None:
            raise RpcFault(Fault.BAD_NAME, name)
        if process_name is None:
            return group
        for process in group.processes:
            if process.name == process_name:
                return process
        raise RpcFault(Fault.BAD_NAME, name)

    def process(self, name: str) -> Process:
        """Return the process that a name means.

        Raises:
            RpcFault: BAD_NAME, also for a group.
        """
        found = self.find(name)
        if isinstance(found, Group):
            raise RpcFault(Fault.BAD_NAME, name)
        return found


def process_of(spec: ServiceSpec) -> Process:
    """Return a service as supervisord's clients know it."""
    if (told := spec.supervisor) is not None:
        return Process(spec.name, told.group, told.process, told.priority, told.group_priority)
    group = spec.replica.group if spec.replica is not None else spec.name
    return Process(spec.name, group, spec.name, spec.priority, spec.priority)


def namespec(group: str, process: str) -> str:
    """Return the name of a process: its own alone where its group is called the same."""
    return process if group == process else f"{group}:{process}"


def split_namespec(name: str) -> tuple[str, str | None]:
    """Split a name into group and process; no process: the whole group is meant."""
    group, colon, process = name.partition(":")
    if not colon:
        return name, name
    return group, None if process in {"", "*"} else process
