"""Who a process is: a pid alone is reused, a pid with its start time and its boot is not.

Source: proc(5), pidfd_open(2). Everything here reads /proc; where there is none, nothing is found.
"""

import errno
import functools
import os
import signal
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ProcessIdentity",
    "ProcessStat",
    "boot_id",
    "is_running",
    "is_same",
    "open_pidfd",
    "read_identity",
    "read_stat",
    "send_signal",
]

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for good.

    Attributes:
        pid: Its number, which another process may have later.
        start_ticks: Clock ticks from boot to its start; field 22 of `/proc/PID/stat`.
        boot_id: Of the boot it belongs to.
    """

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What `/proc/PID/stat` says.

    Attributes:
        pid: Its number.
        name: Its command name, at most 15 bytes; may hold spaces and parentheses.
        state: One letter; `Z` and `X` have ended.
        ppid: Its parent's pid.
        pgrp: Its process group.
        session: Its session.
        start_ticks: Clock ticks from boot to its start.
    """

    pid: int
    name: str
    state: str
    ppid: int
    pgrp: int
    session: int
    start_ticks: int

    @property
    def has_ended(self) -> bool:
        """Whether only its exit status is left."""
        return self.state in {"Z", "X", "x"}


@functools.cache
def boot_id() -> str:
    """Return the id of this boot, empty where the system has none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def read_stat(pid: int) -> ProcessStat | None:
    """Return what /proc says of a process, or None when there is none of that pid."""
    try:
        raw = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    return _parse_stat(raw)


def _parse_stat(raw: bytes) -> ProcessStat | None:
    # The name is the process's own choice: only the last parenthesis closes it.
    head, opened, rest = raw.partition(b"(")
    name, closed, tail = rest.rpartition(b")")
    fields = tail.split()
    if not opened or not closed or len(fields) < 20:
        return None
    return ProcessStat(
        pid=int(head),
        name=os.fsdecode(name),
        state=fields[0].decode("ascii", "replace"),
        ppid=int(fields[1]),
        pgrp=int(fields[2]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def read_identity(pid: int) -> ProcessIdentity | None:
    """Return the identity of the process that has a pid now, or None."""
    stat = read_stat(pid)
    return None if stat is None else ProcessIdentity(pid, stat.start_ticks, boot_id())


def is_same(identity: ProcessIdentity) -> bool:
    """Return whether the process is still in the process table, be it as a zombie."""
    return read_identity(identity.pid) == identity


def is_running(identity: ProcessIdentity) -> bool:
    """Return whether the process is still there and has not ended."""
    stat = read_stat(identity.pid)
    return (
        stat is not None
        and not stat.has_ended
        and ProcessIdentity(stat.pid, stat.start_ticks, boot_id()) == identity
    )


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """Open a pidfd of exactly this process.

    Args:
        identity: Whom to open.

    Returns:
        A descriptor that the caller closes, or None when the process is gone.

    Raises:
        OSError: The system has no pidfds (ENOSYS), or no descriptor is free (EMFILE, ENFILE).
    """
    try:
        fd = os.pidfd_open(identity.pid)
    except OSError as error:
        if error.errno in {errno.ESRCH, errno.EINVAL}:
            return None
        raise
    # Looked at after opening: if it is the same process now, it was so when the pidfd was made.
    if is_same(identity):
        return fd
    os.close(fd)
    return None


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal exactly this process, never another that got its pid.

    Args:
        identity: Whom to signal.
        number: The signal.

    Returns:
        False when the process is gone.

    Raises:
        OSError: Not permitted (EPERM), or no pidfd can be had.
    """
    fd = open_pidfd(identity)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
