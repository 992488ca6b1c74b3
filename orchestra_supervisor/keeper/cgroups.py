"""Control groups: a directory for each run, below one that was delegated to us.

They are the mark that nothing a process does to itself takes off, and on version 2 they end all of a run
in one stroke. They are used where they are ours to use and missed nowhere else: a run is known by
ancestry first (docs/adr/0001-a-zombie-pins-the-run.md, docs/adr/0007-cgroups-are-one-more-mark.md).
Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from orchestra_supervisor.keeper.request import Limits

__all__ = [
    "NO_LIMITS",
    "Cgroups",
    "Group",
    "Hierarchy",
    "find_delegated",
    "parse_bases",
    "read_groups",
    "write_file",
]

_NAME_LIMIT = 180  # bytes of a slot in the name of its directory; a name may have 255
_MARK_LIMIT = 32
_LEAF = "orchestra-keeper."
_CONTROLLERS = ("memory", "cpu", "pids")
_OLD_FILES = {"memory": "memory.limit_in_bytes", "cpu": "cpu.cfs_quota_us", "pids": "pids.max"}
_PERIOD = 100_000  # microseconds over which processor time is shared out; the kernel's own default
_DELEGATED = ("user.delegate", "trusted.delegate")  # set to 1 by systemd for Delegate=yes


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One directory that is ours to divide.

    Attributes:
        base: Its path.
        version: 2, or 1 for a hierarchy of the old kind.
    """

    base: str
    version: int
    controllers: frozenset[str] = frozenset()
    """Of `memory`, `cpu` and `pids`, those with which it can bound a run."""


@dataclass(slots=True, eq=False)
class Group:
    """The directories of one run, all of one name."""

    name: str
    paths: list[str] = field(default_factory=list[str])
    joined: list[str] = field(default_factory=list[str])
    """Those that the child has to enter by itself, by writing into their `cgroup.procs`."""
    into: str | None = None
    """The one that the child is born in: version 2."""
    bounded: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Controller to the directory that it bounds the run by, and that one's version."""

    def limit(self, limits: Limits) -> None:
        """Set limits; what is None is unlimited.

        Raises:
            OSError: The kernel refuses one.
        """
        for controller, (path, version) in self.bounded.items():
            for name, value in _settings(controller, version, limits):
                write_file(f"{path}/{name}", value.encode("ascii"))

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel has ended a process of it for want of memory."""
        path, version = self.bounded.get("memory", ("", 0))
        with suppress(OSError, ValueError):
            for line in _read(f"{path}/memory.{'events' if version == 2 else 'oom_control'}").splitlines():
                key, _, value = line.partition(b" ")
                if key == b"oom_kill":
                    return int(value) > 0
        return False

    def pids(self) -> list[int]:
        """Return the processes that are in it now, those in directories that the run made below included."""
        found: dict[int, None] = {}
        for path in self.paths:
            for directory, _, _ in os.walk(path):
                with suppress(OSError, ValueError):
                    found |= dict.fromkeys(map(int, _read(f"{directory}/cgroup.procs").split()))
        return list(found)

    def holds(self, pid: int) -> bool:
        """Return whether a process is in it."""
        return self.name in read_groups(pid)

    def kill(self) -> bool:
        """End all that is in it at once. Returns False where the kernel has no such stroke."""
        if self.into is None:
            return False
        try:
            write_file(f"{self.into}/cgroup.kill", b"1")
        except OSError:  # before Linux 5.14
            return False
        return True


class Cgroups:
    """The groups of all runs.

    Args:
        hierarchies: What is ours to divide; empty: there are no groups, and every method does nothing.
        mark: Names the home in the directories' names: how a later fleet of it knows its own.
        key: Names this keeper likewise.
    """

    def __init__(self, hierarchies: Sequence[Hierarchy], *, mark: str, key: str) -> None:
        self.mark, self.key = mark[:_MARK_LIMIT], key
        born = next((one for one in hierarchies if one.version == 2), None)
        # To enter a group after the fork waits for every other processor (about 10 ms); to be born in one
        # does not. Of the old kind one is enough to be known by.
        self._used = [born] if born is not None else list(hierarchies[:1])
        self._by_controller = {name: one for one in reversed(hierarchies) for name in one.controllers}
        self._leaf: str | None = None
        self._lingering: list[Group] = []

    @property
    def bases(self) -> list[str]:
        """Return the directories below which runs are."""
        return [one.base for one in self._used]

    @property
    def version(self) -> int | None:
        """Return the version of what runs are known by, or None."""
        return self._used[0].version if self._used else None

    @property
    def controllers(self) -> list[str]:
        """Return what runs can be bounded in: of `cpu`, `memory` and `pids`."""
        return sorted(self._by_controller)

    def make(self, slot: str, serial: int, limits: Limits = NO_LIMITS) -> Group | None:
        """Make the group of a run.

        Args:
            slot: What it runs in.
            serial: Its number within this keeper.
            limits: Its limits; of those that no group can hold nothing is said here.

        Returns:
            The group, or None when there are none.

        Raises:
            OSError: It cannot be made.
        """
        if not self._used:
            return None
        readable = (
            slot.encode("utf-8", "surrogateescape")[:_NAME_LIMIT].decode("utf-8", "ignore").replace("/", "_")
        )
        group = Group(f"{readable}.{self.mark}.{self.key}-{serial}")
        try:
            for one in self._chosen(limits):
                path = f"{one.base}/{group.name}"
                os.mkdir(path)
                group.paths.append(path)
                if one.version == 2:
                    group.into = path
                else:
                    group.joined.append(path)
                group.bounded |= {
                    name: (path, one.version) for name in one.controllers if self._by_controller[name] is one
                }
            if limits != NO_LIMITS:
                group.limit(limits)
        except OSError:
            self.remove(group)
            raise
        return group

    def _chosen(self, limits: Limits) -> list[Hierarchy]:
        """Return the hierarchies that a run needs: to be known by, and for each limit that it has."""
        chosen = list(self._used)
        for name in ("memory", "cpu", "pids"):
            one = self._by_controller.get(name)
            if one is not None and one not in chosen and getattr(limits, name) is not None:
                chosen.append(one)
        return chosen

    def remove(self, group: Group | None) -> None:
        """Remove the group of a run that is gone; what cannot be removed yet is tried again with the next."""
        pending, self._lingering = self._lingering, []
        if group is not None:
            pending.append(group)
        for one in pending:
            one.paths = [path for path in one.paths if not _remove_tree(path)]
            if one.paths:
                self._lingering.append(one)

    def close(self) -> None:
        """Remove what can be removed now: the fleet is down."""
        self.remove(None)
        self.sweep()
        if self._leaf is not None:
            base = os.path.dirname(self._leaf)
            with suppress(OSError):  # whoever delegated it removes the rest
                names = _read(f"{base}/cgroup.subtree_control").split()
                write_file(f"{base}/cgroup.subtree_control", b" ".join(b"-" + name for name in names))
                write_file(f"{base}/cgroup.procs", b"0")
                os.rmdir(self._leaf)

    def settle(self) -> None:
        """Make room: let the group that is ours bound the groups below it.

        A group of version 2 that has processes of its own cannot do so. Hence the keeper moves into one
        below, and takes the roles along that it starts.

        Raises:
            OSError: It cannot be had, most often (EBUSY) because others live in our group.
        """
        born = next((one for one in self._used if one.version == 2 and one.controllers), None)
        if born is None:
            return
        try:
            wanted = {name.encode("ascii") for name in born.controllers}
            if wanted <= set(_read(f"{born.base}/cgroup.subtree_control").split()):
                return
            leaf = f"{born.base}/{_LEAF}{self.mark}-{self.key}"
            os.mkdir(leaf)
            self._leaf = leaf
            write_file(f"{leaf}/cgroup.procs", b"0")
            write_file(
                f"{born.base}/cgroup.subtree_control", b" ".join(b"+" + name for name in sorted(wanted))
            )
        except OSError:
            self._by_controller = {name: one for name, one in self._by_controller.items() if one is not born}
            raise

    def sweep(self) -> None:
        """Remove empty groups that earlier keepers of this home left behind."""
        for one in self._used:
            with suppress(OSError):
                for name in os.listdir(one.base):
                    is_run = f".{self.mark}." in name and f".{self.key}-" not in name
                    is_leaf = name.startswith(f"{_LEAF}{self.mark}-") and not name.endswith(self.key)
                    if is_run or is_leaf:
                        _remove_tree(f"{one.base}/{name}")


def find_delegated() -> list[Hierarchy]:
    """Return what is delegated to this process, or nothing.

    Our own group of version 2 is ours when its manager says so in the way of systemd, or when we are
    the first process of a container that has a group of its own to write in.
    """
    try:
        own = next(line[3:] for line in _read("/proc/self/cgroup").splitlines() if line[:3] == b"0::")
        mounts = [line.split() for line in _read("/proc/self/mountinfo").splitlines()]
    except (OSError, StopIteration):
        return []
    for fields in mounts:
        with suppress(ValueError, IndexError):
            if fields[fields.index(b"-") + 1] != b"cgroup2":
                continue
            root, point = fields[3].rstrip(b"/"), fields[4]
            if own != root and not own.startswith(root + b"/"):
                continue
            base = os.fsdecode(point + own.removeprefix(root)).rstrip("/")
            if _is_delegated(base):
                return [_hierarchy(base)]
    return []


def _is_delegated(base: str) -> bool:
    for name in _DELEGATED:
        with suppress(OSError, AttributeError):
            if os.getxattr(base, name) == b"1":
                return os.access(base, os.W_OK)
    # The root of all groups has no such file; the root that a container sees is an ordinary group.
    return os.getpid() == 1 and os.path.exists(f"{base}/cgroup.events") and os.access(base, os.W_OK)


def parse_bases(paths: Iterable[str]) -> list[Hierarchy]:
    """Return the hierarchies of directories that the operator made for us.

    Raises:
        OSError: One is not a control group that we may divide.
    """
    found: list[Hierarchy] = []
    for path in paths:
        if not os.path.exists(f"{path}/cgroup.procs"):
            raise FileNotFoundError(2, "is not a control group", path)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "may not be written", path)
        found.append(_hierarchy(path.rstrip("/")))
    return found


def _hierarchy(base: str) -> Hierarchy:
    if os.path.exists(f"{base}/cgroup.controllers"):
        there = _read(f"{base}/cgroup.controllers").decode("ascii").split()
        return Hierarchy(base, 2, frozenset(there) & frozenset(_CONTROLLERS))
    return Hierarchy(
        base, 1, frozenset(name for name, file in _OLD_FILES.items() if os.path.exists(f"{base}/{file}"))
    )


def _settings(controller: str, version: int, limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield (file, value) of what sets the limit of one controller."""
    if controller == "pids":
        yield "pids.max", "max" if limits.pids is None else str(limits.pids)
    elif controller == "cpu":
        quota = None if limits.cpu is None else max(1000, round(limits.cpu * _PERIOD))
        if version == 2:
            yield "cpu.max", f"{'max' if quota is None else quota} {_PERIOD}"
        else:
            yield "cpu.cfs_period_us", str(_PERIOD)
            yield "cpu.cfs_quota_us", "-1" if quota is None else str(quota)
    elif version == 2:
        yield "memory.max", "max" if limits.memory is None else str(limits.memory)
        yield "memory.oom.group", "0" if limits.memory is None else "1"  # half a service is worse than none
    else:
        yield "memory.limit_in_bytes", "-1" if limits.memory is None else str(limits.memory)


def read_groups(pid: int) -> set[str]:
    """Return every component of the groups' paths of a process; empty when there is none."""
    names: set[str] = set()
    with suppress(OSError):
        for line in _read(f"/proc/{pid}/cgroup").splitlines():
            names.update(os.fsdecode(line.partition(b":")[2].partition(b":")[2]).split("/"))
    names.discard("")
    return names


def _remove_tree(path: str) -> bool:
    """Remove a group and the empty ones below it. Returns False while one of them is in use."""
    for directory in _deepest_first(path):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _deepest_first(path: str) -> Iterator[str]:
    for directory, _, _ in os.walk(path, topdown=False):
        yield directory


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks: list[bytes] = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def write_file(path: str, data: bytes) -> None:
    """Write a file of the kernel's in one piece.

    Raises:
        OSError: The kernel refuses the value, or there is no such file.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
