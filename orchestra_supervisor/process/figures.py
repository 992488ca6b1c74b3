"""How much each run uses, by one pass over the processes under the keeper.

A process belongs to the run whose leader it descends from, else to the one whose session it is in, else
to the one that its environment names. It may vanish between any two reads; then it is not counted.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import anyio
import psutil
from anyio import to_thread

from orchestra_supervisor.model.figures import Figures

__all__ = ["PATIENCE", "PSS_PROCESSES", "PSS_RSS", "ProcessSampler", "Root"]

PSS_PROCESSES = 100
"""Processes of a fleet above which RSS is told: a proportional share costs the kernel some 0.15 ms each."""
PSS_RSS = 256 * 1024 * 1024
"""Bytes of RSS above which RSS is told of a process: the kernel walks all of its pages for the share."""
PATIENCE = 5.0
"""Seconds for one look."""
_RUN = "ORCHESTRA_RUN_ID"


@dataclass(frozen=True, slots=True)
class Root:
    """A run to measure: its id and the pid of its leader."""

    run: str
    pid: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """One process as one look shows it. `cpu` is seconds since its start; bytes are None where hidden."""

    pid: int
    parent: int
    cpu: float
    memory: int
    is_pss: bool
    threads: int
    fds: int | None
    io: tuple[int, int] | None


@dataclass(slots=True)
class _Known:
    """A process that was there at the last look."""

    process: psutil.Process
    cpu: float = 0.0
    io: tuple[int, int] = (0, 0)
    run: str | None = None
    """What its environment names; asked for once, where nothing else tells."""


@dataclass(slots=True)
class _Tally:
    """What is known of a whole tree beyond the processes that live: bytes add up over those that end."""

    read: int = 0
    written: int = 0


class ProcessSampler:
    """Looks at process trees again and again, in a worker thread.

    Args:
        keeper: Pid of the keeper, under which every process of every run is.
    """

    def __init__(self, keeper: int) -> None:
        self._keeper = keeper
        self._known: dict[int, _Known] = {}
        self._tallies: dict[str, _Tally] = {}
        self._last: float | None = None
        self._limiter = anyio.CapacityLimiter(1)
        self._is_busy = False
        self.cost = 0.0
        """Seconds of processor time that the last look took."""

    async def look(
        self, runs: Mapping[str, Root], roles: Mapping[str, int], now: float, at: float
    ) -> dict[str, Figures]:
        """Do what `sample` does, in a thread.

        A process that is stuck in the kernel can make reading about it hang. Then, as when the system has no
        descriptor left to read by, nothing is known, and no second look is sent after the first.
        """
        found: dict[str, Figures] = {}
        if not self._is_busy:
            self._is_busy = True
            work = partial(self._work, partial(self.sample, runs, roles, now, at))
            with anyio.move_on_after(PATIENCE), suppress(OSError):
                found = await to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        return found

    def _work(self, look: Callable[[], dict[str, Figures]]) -> dict[str, Figures]:
        began = time.thread_time()
        try:
            return look()
        finally:
            self.cost = time.thread_time() - began
            self._is_busy = False

    def sample(
        self, runs: Mapping[str, Root], roles: Mapping[str, int], now: float, at: float
    ) -> dict[str, Figures]:
        """Return the figures of each name whose processes can be seen. Blocks; one call at a time.

        Args:
            runs: Name to run.
            roles: Name to the pid of a single process, whose children are not its own.
            now: Monotonic seconds.
            at: Wall seconds, for the figures.

        Raises:
            OSError: The system cannot be looked at now.
        """
        elapsed = None if self._last is None else max(now - self._last, 0.001)
        self._last = now
        seen = self._look(frozenset(roles.values()))
        groups: dict[str, list[_Seen]] = {}
        for name, pid in roles.items():
            if pid in seen:
                groups[name] = [seen.pop(pid)]
        owners = {root.pid: name for name, root in runs.items()}
        by_run = {root.run: name for name, root in runs.items()}
        for one in seen.values():
            name = self._owner(one, seen, owners, by_run)
            if name is not None:
                groups.setdefault(name, []).append(one)
        keys = {name: runs[name].run if name in runs else name for name in groups}
        self._tallies = {key: self._tallies.get(key) or _Tally() for key in keys.values()}
        found = {
            name: self._sum(group, self._tallies[keys[name]], elapsed, at) for name, group in groups.items()
        }
        self._remember(groups)
        return found

    def _look(self, more: frozenset[int]) -> dict[int, _Seen]:
        """Return every process under the keeper, and those of `more`."""
        found: list[psutil.Process] = []
        with suppress(psutil.Error):
            found = psutil.Process(self._keeper).children(recursive=True)
        for pid in more - {process.pid for process in found}:
            with suppress(psutil.Error):
                found.append(psutil.Process(pid))
        known: dict[int, _Known] = {}
        for process in found:
            before = self._known.get(process.pid)
            # Equal: the same pid and the same start. Another process of that number begins anew.
            known[process.pid] = before if before and before.process == process else _Known(process)
        self._known = known
        is_pss = len(found) <= PSS_PROCESSES
        seen = [_read(one.process, is_pss=is_pss) for one in known.values()]
        return {one.pid: one for one in seen if one is not None}

    def _owner(
        self, one: _Seen, seen: Mapping[int, _Seen], owners: Mapping[int, str], by_run: Mapping[str, str]
    ) -> str | None:
        pid, steps = one.pid, 0
        while pid not in owners and pid in seen and steps < len(seen):
            pid, steps = seen[pid].parent, steps + 1
        if pid not in owners:
            with suppress(OSError):
                pid = os.getsid(one.pid)
        if pid in owners:
            return owners[pid]
        known = self._known[one.pid]
        if known.run is None:
            known.run = ""
            with suppress(psutil.Error, OSError):
                known.run = known.process.environ().get(_RUN, "")
        return by_run.get(known.run)

    def _sum(self, group: list[_Seen], tally: _Tally, elapsed: float | None, at: float) -> Figures:
        spent = 0.0
        for one in group:
            known = self._known[one.pid]
            spent += max(0.0, one.cpu - known.cpu)
            if one.io is not None:
                tally.read += max(0, one.io[0] - known.io[0])
                tally.written += max(0, one.io[1] - known.io[1])
        fds = [one.fds for one in group if one.fds is not None]
        is_counted = any(one.io is not None for one in group)
        return Figures(
            at=at,
            cpu=None if elapsed is None else round(100 * spent / elapsed, 1),
            memory=sum(one.memory for one in group),
            memory_kind="pss" if all(one.is_pss for one in group) else "rss",
            processes=len(group),
            threads=sum(one.threads for one in group),
            fds=sum(fds) if fds else None,
            read_bytes=tally.read if is_counted else None,
            write_bytes=tally.written if is_counted else None,
        )

    def _remember(self, groups: Mapping[str, list[_Seen]]) -> None:
        for group in groups.values():
            for one in group:
                known = self._known[one.pid]
                known.cpu, known.io = one.cpu, one.io or known.io


def _read(process: psutil.Process, *, is_pss: bool) -> _Seen | None:
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            times, memory = process.cpu_times(), process.memory_info().rss
            share = _share(process) if is_pss and memory <= PSS_RSS else None
            return _Seen(
                pid=process.pid,
                parent=process.ppid(),
                cpu=times.user + times.system,
                memory=memory if share is None else share,
                is_pss=share is not None,
                threads=process.num_threads(),
                fds=_fds(process),
                io=_io(process),
            )
    except (psutil.Error, ProcessLookupError):
        return None


def _share(process: psutil.Process) -> int | None:
    try:
        # Only Linux tells it; elsewhere the figure has no such field.
        return int(getattr(process.memory_full_info(), "pss", 0)) or None
    except (psutil.Error, OSError):
        return None


def _fds(process: psutil.Process) -> int | None:
    try:
        return process.num_fds()
    except (psutil.AccessDenied, PermissionError):
        return None


def _io(process: psutil.Process) -> tuple[int, int] | None:
    if not hasattr(process, "io_counters"):  # macOS
        return None
    try:
        counters = process.io_counters()
    except (psutil.AccessDenied, PermissionError, NotImplementedError):
        return None
    return counters.read_bytes, counters.write_bytes
