"""One play of the comparison: a supervisor is started with services, looked at from outside, and ended.

The same for every supervisor, in this order: start, memory, idleness, status, respawns, logs, stop. All times
are seconds of CLOCK_MONOTONIC, read by the service itself or by this process, never by the supervisor.
"""

import os
import random
import select
import signal
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from compare_peers import Kit, Peer, Work
from compare_programs import Programs
from compare_world import (
    Listener,
    PeerFailed,
    Run,
    StillAlive,
    end_all,
    open_pidfd,
    pss_of,
    usage_of,
)

__all__ = ["Effort", "Sample", "play", "staged", "time_respawns"]

_LEAST_AGE = 1.2  # seconds that a service has run when it is killed: runit and pm2 call less a failure
_RESPAWN_PATIENCE = 15.0  # seconds for a killed service to be back
_PAUSES = (
    0.04,
    0.14,
)  # seconds between a service that is back and the next kill; at random, in step with nothing
_SETTLE = 1.0  # seconds of peace after the start
_LARGE = 1_000_000  # bytes
_LOG_LOOKS = 0.004  # seconds between two looks at the size of a log


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried in one play.

    Attributes:
        services: How many.
        respawn_time: Seconds after which no further service is killed.
        kills: The most services that are killed.
        idle_time: Seconds of idleness that are looked at; 0: none.
        looks: How often `status` is timed.
        size: Bytes of the log; 0: none.
        patience: Seconds for the start, for a command, for the stop.
    """

    services: int
    respawn_time: float = 6.0
    kills: int = 60
    idle_time: float = 4.0
    looks: int = 5
    size: int = 200_000_000
    patience: float = 60.0


@dataclass(slots=True)
class Sample:
    """What one play has shown.

    Attributes:
        peer: Name of the supervisor.
        services: How many it ran.
        round: All plays of a round had the same weather.
        taken: When, in UTC.
        figures: By name, in seconds, bytes, MB of memory; one that could not be had is not there.
        respawns: Seconds from each SIGKILL to the service that followed.
        statuses: Seconds of each `status`.
        faults: What went wrong, for people.
    """

    peer: str
    services: int
    round: int
    taken: str = ""
    figures: dict[str, float] = field(default_factory=dict[str, float])
    respawns: list[float] = field(default_factory=list[float])
    statuses: list[float] = field(default_factory=list[float])
    faults: list[str] = field(default_factory=list[str])


class _Stage:
    """A peer while it is looked at."""

    def __init__(self, peer: Peer, listener: Listener, effort: Effort, sample: Sample) -> None:
        self._peer = peer
        self._listener = listener
        self._effort = effort
        self._sample = sample
        self._mark = f"{peer.folder}/"

    def look(self, only: frozenset[str]) -> None:
        """Take all figures; what cannot be had is a fault, and the next one is tried.

        Raises:
            PeerFailed: The supervisor cannot be used at all.
        """
        self._start()
        time.sleep(_SETTLE)
        parts: dict[str, Callable[[], None]] = {
            "memory": self._memory,
            "idle": self._idle,
            "status": self._status,
            "respawn": self._respawn,
            "log": self._log,
            "stop": self._stop,
        }
        for name, part in parts.items():
            if not only or name in only:
                try:
                    part()
                except PeerFailed as error:
                    self._sample.faults.append(f"{name}: {error}")

    def _start(self) -> None:
        count = self._effort.services
        began = time.monotonic()
        self._peer.up()
        self._listener.await_services(count, self._effort.patience, self._peer.check)
        runs = sorted(run.at for run in self._listener.first_runs())
        self._sample.figures["up"] = runs[-1] - began
        if count > 1:
            self._sample.figures["start"] = (runs[-1] - runs[0]) / (count - 1)

    def _memory(self) -> None:
        pids = self._peer.own_processes()
        self._sample.figures |= {"memory": pss_of(pids), "processes": len(pids)}

    def _idle(self) -> None:
        if not self._effort.idle_time:
            return
        pids = self._peer.own_processes()
        before, began = usage_of(pids), time.monotonic()
        time.sleep(self._effort.idle_time)
        after, took = usage_of(pids), time.monotonic() - began
        self._sample.figures["idle_cpu"] = (after.cpu - before.cpu) / took
        self._sample.figures["idle_sleeps"] = (after.sleeps - before.sleeps) / took

    def _status(self) -> None:
        for _ in range(self._effort.looks):
            began = time.monotonic()
            said = self._peer.run(*self._peer.status())
            self._sample.statuses.append(time.monotonic() - began)
            if self._peer.is_logging and len(said.splitlines()) < self._effort.services:
                raise PeerFailed(f"shows {len(said.splitlines())} lines for {self._effort.services} services")

    def _respawn(self) -> None:
        effort = self._effort
        time_respawns(self._listener, self._mark, self._sample.respawns, effort.kills, effort.respawn_time)

    def _log(self) -> None:
        if not self._effort.size:
            return
        run = self._listener.last_runs()[0]
        path, pids = self._peer.log(run.number), self._peer.own_processes()
        pidfd = open_pidfd(run.pid, self._mark)
        if pidfd is None:
            raise PeerFailed(f"a service ended by itself, of pid {run.pid}")
        before = usage_of(pids)
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
        os.close(pidfd)
        ended = _await_size(path, self._effort.size, self._effort.patience)
        wrote = self._listener.await_wrote(self._effort.patience)
        # The floor writes the file itself: there the writer knows better than who looks at the file.
        took = (ended if self._peer.is_logging else wrote.ended) - wrote.began
        used = usage_of(pids).cpu - before.cpu
        time.sleep(0.2)  # what would be written twice comes late
        found = path.stat().st_size
        self._sample.figures["log_missing"] = self._effort.size - found
        if found != self._effort.size:
            raise PeerFailed(f"{found} bytes in the log of {self._effort.size} that were written")
        self._sample.figures |= {"log_rate": self._effort.size / took, "memory_after_log": pss_of(pids)}
        if self._peer.is_logging:
            self._sample.figures["log_cpu"] = used / self._effort.size

    def _stop(self) -> None:
        runs = self._listener.last_runs()
        pidfds = [found for run in runs if (found := open_pidfd(run.pid, self._mark)) is not None]
        try:
            if len(pidfds) < self._effort.services:
                raise PeerFailed(f"{len(pidfds)} of {self._effort.services} services run")
            began = time.monotonic()
            self._peer.stop()
            _await_ends(pidfds, self._effort.patience)
            self._sample.figures["stop"] = time.monotonic() - began
        finally:
            for pidfd in pidfds:
                os.close(pidfd)


def time_respawns(listener: Listener, mark: str, found: list[float], kills: int, seconds: float) -> None:
    """Kill services, each in its turn, and add the times until they are back.

    Args:
        listener: Hears them.
        mark: Of their processes.
        found: Is added to, in seconds.
        kills: The most of them.
        seconds: After which none is killed.

    Raises:
        PeerFailed: A service does not come back, or does so without a kill.
    """
    end, todo, count = time.monotonic() + seconds, list[Run](), 0
    while count < kills and time.monotonic() < end:
        if not todo:
            todo = [run for run in listener.last_runs() if run.number != listener.spared]
            todo.sort(key=lambda run: run.at)
            todo[(len(todo) + 1) // 2 :] = []  # the older half, so that none has to be waited for
            random.shuffle(todo)
        last = todo.pop()
        time.sleep(max(random.uniform(*_PAUSES), last.at + _LEAST_AGE - time.monotonic()))
        runs = listener.count()
        began = _kill(last, mark)
        found.append(listener.await_next(last, _RESPAWN_PATIENCE).at - began)
        count += 1
        if listener.count() != runs + 1:
            raise PeerFailed("another service started again without a kill")


def _kill(run: Run, mark: str) -> float:
    pidfd = open_pidfd(run.pid, mark)
    if pidfd is None:
        raise PeerFailed(f"a service ended by itself, of pid {run.pid}")
    try:
        began = time.monotonic()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return began


def _await_size(path: Path, size: int, patience: float) -> float:
    """Wait until a file has a size; return when. One that stays shorter is not waited for to the end."""
    end, last, grown = time.monotonic() + patience, -1, time.monotonic()
    while True:
        now, found = time.monotonic(), 0
        with suppress(FileNotFoundError):
            found = path.stat().st_size
        if found >= size:
            return now
        if found != last:
            last, grown = found, now
        if now > end or now - grown > 5:
            raise PeerFailed(f"{found} bytes in the log of {size} after {patience:g} s, or none in 5 s")
        time.sleep(_LOG_LOOKS)


def _await_ends(pidfds: list[int], patience: float) -> None:
    """Wait until processes have ended."""
    poll, end = select.poll(), time.monotonic() + patience
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    left = len(pidfds)
    while left:
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise PeerFailed(f"{left} of {len(pidfds)} services are alive {patience:g} s after the stop")
        for pidfd, _ in poll.poll(seconds * 1000):
            poll.unregister(pidfd)
            left -= 1


@contextmanager
def staged(
    make: tuple[type[Peer], Kit], programs: Programs, folder: Path, effort: Effort, faults: list[str]
) -> Generator[tuple[Peer, Listener]]:
    """Have a supervisor, configured and not yet started, for the time of a block; end it after that.

    Args:
        make: The supervisor.
        programs: What it runs.
        folder: For all of its files; must not exist, does not after it.
        effort: How much is tried.
        faults: What is wrong with its end is added to it.

    Raises:
        StillAlive: Something that was started is: its folder stays.
        PeerFailed, OSError: As the block, and the configuration, raise them.
    """
    folder.mkdir()
    listener = Listener(folder / "runs")
    kind, kit = make
    work = Work(folder, effort.services, programs, listener.path, effort.size, effort.patience)
    peer = kind(kit, work)
    try:
        peer.configure()
        yield peer, listener
    finally:
        with _undisturbed():
            try:
                if fault := peer.end():
                    faults.append(f"end: {fault}")
            finally:
                end_all(f"{folder}/", work.is_service)
                listener.close()
            _put_aside(folder)


def _put_aside(folder: Path) -> None:
    """Give back the room that logs take, and leave the files to whoever removes all of it at the end.

    For five seconds after a file was deleted, ext4 without a journal makes whoever creates one look at every
    inode that became free (`recently_deleted`): up to half a millisecond for each log of the next start.
    """
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink() and path.stat().st_size > _LARGE:
                os.truncate(path, 0)
    with suppress(OSError):
        folder.rename(Path(tempfile.mkdtemp(prefix="over-", dir=folder.parent)) / folder.name)


def play(
    make: tuple[type[Peer], Kit],
    programs: Programs,
    folder: Path,
    effort: Effort,
    sample: Sample,
    only: frozenset[str] = frozenset(),
) -> None:
    """Play a supervisor once, and fill a sample, as far as it goes.

    Args:
        make: The supervisor.
        programs: What it runs.
        folder: For all of its files; must not exist, does not after it.
        effort: How much is tried.
        sample: Is filled.
        only: The parts to try; empty: all.

    Raises:
        StillAlive: Something that was started is: its folder stays.
    """
    try:
        with staged(make, programs, folder, effort, sample.faults) as (peer, listener):
            _Stage(peer, listener, effort, sample).look(only)
    except StillAlive:
        raise
    except (PeerFailed, OSError) as error:
        sample.faults.append(str(error))


class _undisturbed:  # noqa: N801 - reads as a statement
    """Put off the signals that would end us: what has been started is to be ended first."""

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._NUMBERS)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
