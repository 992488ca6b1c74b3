"""Who holds a home: read from its lock, and believed only as far as it can be checked.

The lock's text is `PID START_TICKS PID_NAMESPACE`. A pid alone would not do: the keeper may run in a
container whose pid 1 is not ours, or be gone and its number taken. Whoever is to be signalled is opened as a
pidfd first and checked against all three.
"""

import fcntl
import os

__all__ = ["Holder", "keeper_pid_of", "read_holder", "write_holder"]

_WIDTH = 47  # characters; fixed, so that a shorter text never leaves the tail of a longer one to be read


class Holder:
    """The keeper that a lock names; a plain class, as `typing` costs 4 ms to import.

    Attributes:
        pid: Its pid in its own namespace; 0: not written yet.
        start_ticks: Field 22 of its /proc/PID/stat.
        namespace: Inode of its pid namespace.
    """

    __slots__ = ("namespace", "pid", "start_ticks")

    def __init__(self, pid: int, start_ticks: int = 0, namespace: int = 0) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.namespace = namespace

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same process."""
        return isinstance(other, Holder) and self._facts == other._facts

    def __hash__(self) -> int:
        """Return what goes with equality."""
        return hash(self._facts)

    @property
    def _facts(self) -> tuple[int, int, int]:
        return self.pid, self.start_ticks, self.namespace

    def open(self) -> int | None:
        """Return a pidfd of it, or None when it is not to be seen from here, or is another process."""
        if not self.pid or self.namespace != _namespace():
            return None
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return None
        if self.start_ticks and _start_ticks(self.pid) == self.start_ticks:
            return descriptor
        os.close(descriptor)
        return None


def read_holder(home: str | os.PathLike[str]) -> Holder | None:
    """Return who holds a home, or None: nobody does."""
    try:
        descriptor = os.open(os.path.join(home, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        words = os.read(descriptor, 128).split()
        numbers = [int(word) for word in words if word.isdigit()]
        return Holder(*numbers[:3]) if numbers else Holder(0)
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(descriptor)


def keeper_pid_of(home: str | os.PathLike[str]) -> int | None:
    """Return the pid of the keeper that holds a home, to be shown; 0: not written yet; None: nobody."""
    holder = read_holder(home)
    return None if holder is None else holder.pid


def write_holder(descriptor: int, pid: int) -> None:
    """Write who holds a lock into its file.

    Raises:
        OSError: It cannot be written.
    """
    text = f"{pid} {_start_ticks(pid)} {_namespace()}"
    os.pwrite(descriptor, f"{text:<{_WIDTH}}\n".encode("ascii"), 0)
    os.ftruncate(descriptor, _WIDTH + 1)


def _start_ticks(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
