"""The processes of one run as they are now, each under the one that started it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

__all__ = ["ProcessNote", "tree_of"]

_RUN = "ORCHESTRA_RUN_ID"


@dataclass(frozen=True, slots=True)
class ProcessNote:
    """One process.

    Attributes:
        pid: Of it.
        parent: Pid of the one that it hangs under: 0 for the leader, and for those whose parent is gone.
        command: Its words as it was started; the kernel's name for it where they are not to be seen.
        cpu: Seconds of processor time since its start; None: not to be seen.
        memory: Bytes of RSS; None: not to be seen.
    """

    pid: int
    parent: int
    command: tuple[str, ...]
    cpu: float | None
    memory: int | None


def tree_of(leader: int, run: str, keeper: int) -> list[ProcessNote]:
    """Return the processes of a run, each after its parent. Blocks.

    They are those that descend from its leader, and those below the keeper, who takes in what its parent has
    left, which are in the leader's session or bear the run's id.

    Args:
        leader: Its pid.
        run: Its id.
        keeper: Pid of the keeper.
    """
    found = list(_below(leader, 0))
    known = {one.pid for one in found}
    with suppress(psutil.Error):
        for process in psutil.Process(keeper).children():
            if process.pid not in known and _is_of(process, leader, run):
                found.extend(_below(process.pid, 0))
    return found


def _below(pid: int, parent: int) -> Iterator[ProcessNote]:
    """Yield a process and all below it, in the order in which a tree is read."""
    try:
        top = psutil.Process(pid)
        by_parent: dict[int, list[psutil.Process]] = {}
        for process in top.children(recursive=True):
            with suppress(psutil.Error):
                by_parent.setdefault(process.ppid(), []).append(process)
    except psutil.Error:
        return
    todo = [(top, parent)]
    while todo:
        process, above = todo.pop()
        note = _note(process, above)
        if note is not None:
            yield note
        todo += [(child, process.pid) for child in reversed(by_parent.pop(process.pid, []))]


def _note(process: psutil.Process, parent: int) -> ProcessNote | None:
    """Return what is to be seen of a process; None: it has ended, collected or not."""
    words: list[str] = []
    cpu: float | None = None
    memory: int | None = None
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with suppress(psutil.AccessDenied, psutil.ZombieProcess):
            words = process.cmdline()
        with suppress(psutil.AccessDenied, psutil.ZombieProcess):
            times = process.cpu_times()
            cpu, memory = round(times.user + times.system, 2), process.memory_info().rss
        return ProcessNote(process.pid, parent, tuple(words) or (process.name(),), cpu, memory)
    except psutil.NoSuchProcess:
        return None


def _is_of(process: psutil.Process, leader: int, run: str) -> bool:
    with suppress(OSError):
        if os.getsid(process.pid) == leader:
            return True
    with suppress(psutil.Error, OSError):
        return process.environ().get(_RUN) == run
    return False
