"""What /proc says about processes: identity, children, and which run a stranger belongs to."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

__all__ = [
    "RUN_VARIABLE",
    "TAG_LIMIT",
    "Proc",
    "check_proc",
    "own_children",
    "parse_stat",
    "read_proc",
    "read_run_id",
    "read_tag",
    "walk",
]

RUN_VARIABLE = "ORCHESTRA_RUN_ID"
"""Environment variable that names the run in each of its processes."""

TAG_LIMIT = 10
"""RLIMIT_LOCKS of <asm-generic/resource.h>: inherited by every descendant, whatever it does to its
environment and session, and without any effect since Linux 2.6. Its soft value marks the run."""

_root = "/proc"
_PF_FORKNOEXEC = 0x40  # <linux/sched.h>: forked, has not executed a program yet


@dataclass(frozen=True, slots=True)
class Proc:
    """One process as /proc showed it. (`pid`, `start_ticks`) is its identity within a boot."""

    pid: int
    state: str
    ppid: int
    pgrp: int
    session: int
    start_ticks: int
    executed: bool
    """False from fork until the first exec."""


def check_proc() -> bool:
    """Make sure that /proc shows our own pid namespace; otherwise never look at it again.

    Returns:
        False when it does not: the numbers in it would be those of strangers.
    """
    global _root  # noqa: PLW0603  # decided once, at boot
    with suppress(OSError):
        if os.readlink("/proc/self") == str(os.getpid()):
            return True
    _root = "/nonexistent"
    return False


def parse_stat(text: bytes) -> Proc:
    """Parse `/proc/PID/stat`.

    The second field is the command in parentheses and may hold spaces, parentheses and newlines
    itself, so the fields are counted from the last closing one. Source: proc_pid_stat(5).

    Raises:
        ValueError: It is not such a line.
    """
    pid, _, rest = text.partition(b" (")
    _, found, tail = rest.rpartition(b") ")
    fields = tail.split()
    if not found or len(fields) < 20:
        msg = f"not a line of /proc/PID/stat: {text[:80]!r}"
        raise ValueError(msg)
    return Proc(
        pid=int(pid),
        state=fields[0].decode("ascii"),
        ppid=int(fields[1]),
        pgrp=int(fields[2]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        executed=not int(fields[6]) & _PF_FORKNOEXEC,
    )


def read_proc(pid: int) -> Proc | None:
    """Return the process, or None when there is none (or no /proc)."""
    try:
        return parse_stat(_read(f"{_root}/{pid}/stat"))
    except (OSError, ValueError):
        return None


def read_run_id(pid: int) -> str | None:
    """Return the run id in a process's environment, or None."""
    with suppress(OSError):
        mark = RUN_VARIABLE.encode("ascii") + b"="
        for entry in _read(f"{_root}/{pid}/environ").split(b"\0"):
            if entry.startswith(mark):
                return entry[len(mark) :].decode("utf-8", "surrogateescape")
    return None


def read_tag(pid: int) -> int | None:
    """Return the soft value of TAG_LIMIT of a process, or None when it is unlimited or cannot be read.

    Unlike prlimit(2) and `environ`, the file may be read whoever the process has become.
    """
    with suppress(OSError, ValueError, IndexError):
        _, _, line = _read(f"{_root}/{pid}/limits").partition(b"\nMax file locks")
        return int(line.split()[0])
    return None


def own_children() -> list[int]:
    """Return the pids of our direct children, zombies included.

    Raises:
        OSError: /proc could not be read now: what is not seen may still be there.
    """
    try:
        return _children_of_task(f"{_root}/self/task/{os.getpid()}/children")
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or no /proc at all
        return _children_by_scan({os.getpid()}) if os.path.exists(f"{_root}/self") else []


def walk(roots: Iterable[int]) -> list[Proc]:
    """Return the processes of `roots` and all their descendants, as they are now.

    A process that is orphaned while we look moves to our own children and is found there.
    """
    found: dict[int, Proc] = {}
    pending: list[tuple[int, int | None]] = [(pid, None) for pid in roots]
    while pending:
        pid, parent = pending.pop()
        proc = None if pid in found else read_proc(pid)
        # Another parent: it was orphaned since, or its number is a stranger's by now.
        if proc is not None and parent in (None, proc.ppid):
            found[pid] = proc
            pending += [(child, pid) for child in _children(pid)]
    return list(found.values())


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        tasks = os.listdir(f"{_root}/{pid}/task")
    except OSError:
        return children
    for task in tasks:
        try:
            children += _children_of_task(f"{_root}/{pid}/task/{task}/children")
        except FileNotFoundError:
            if os.path.exists(f"{_root}/{pid}/task/{task}"):  # a kernel without CONFIG_PROC_CHILDREN
                return _children_by_scan({pid})
        except OSError:  # ended while we looked
            continue
    return children


def _children_of_task(path: str) -> list[int]:
    return [int(pid) for pid in _read(path).split()]


def _children_by_scan(parents: set[int]) -> list[int]:
    procs = (read_proc(int(name)) for name in os.listdir(_root) if name.isdecimal())
    return [proc.pid for proc in procs if proc is not None and proc.ppid in parents]


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks: list[bytes] = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)
