"""What the comparison sees from outside: datagrams of services, and processes by a mark, as /proc has them.

Everything that is started for a fleet has that fleet's folder in its environment or on its command line. That
is how the processes of a supervisor are found whatever shape they have, how nothing of them is left, and how
nothing of anybody else is touched.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Listener",
    "PeerFailed",
    "Run",
    "StillAlive",
    "Usage",
    "Wrote",
    "end_all",
    "marked",
    "open_pidfd",
    "pss_of",
    "usage_of",
]

_END_TIME = 10.0  # seconds for what was sent SIGKILL to be gone


class PeerFailed(Exception):
    """A supervisor did not do what was asked, or not in time."""


class StillAlive(PeerFailed):
    """Something that was started outlives its end: its folder has to stay."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process of a service; `at` in seconds of CLOCK_MONOTONIC, as the process read it."""

    number: int
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Wrote:
    """A service wrote its bytes, from one instant to another."""

    number: int
    began: float
    ended: float


class Listener:
    """Where services say that they run. A thread reads, so that none waits for us with its datagram.

    Args:
        path: Of the Unix socket; at most 107 bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._news = threading.Condition()
        self._runs: dict[int, list[Run]] = {}
        self._wrote: list[Wrote] = []
        self.on_wrote: Callable[[Wrote], None] | None = None
        """Is called by the thread that reads, in place of keeping what it is told."""
        self.spared: int | None = None
        """The number of a service that is not to be killed."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.settimeout(1)
            last.sendto(b"end", str(self.path))
        self._thread.join(5)
        self._socket.close()

    def last_runs(self) -> list[Run]:
        """Return the newest run of each service that ever ran."""
        with self._news:
            return [runs[-1] for runs in self._runs.values()]

    def first_runs(self) -> list[Run]:
        """Return the first run of each service that ever ran."""
        with self._news:
            return [runs[0] for runs in self._runs.values()]

    def count(self) -> int:
        """Return how many runs there were, of all services."""
        with self._news:
            return sum(map(len, self._runs.values()))

    def await_services(self, count: int, seconds: float, check: Callable[[], None]) -> None:
        """Wait until so many services ran.

        Args:
            count: Of services.
            seconds: To wait at most.
            check: Is called twice a second; raises where waiting is in vain.

        Raises:
            PeerFailed: Fewer do.
        """
        end = time.monotonic() + seconds
        while not self._await(lambda: len(self._runs) >= count, 0.5):
            check()
            if time.monotonic() > end:
                raise PeerFailed(f"{len(self._runs)} of {count} services run after {seconds:g} s")

    def await_next(self, last: Run, seconds: float) -> Run:
        """Wait for the run of a service that follows another.

        Raises:
            PeerFailed: There is none.
        """
        if not self._await(lambda: self._runs[last.number][-1] is not last, seconds):
            raise PeerFailed(f"a killed service is not back after {seconds:g} s")
        with self._news:
            runs = self._runs[last.number]
            return runs[runs.index(last) + 1]

    def await_wrote(self, seconds: float) -> Wrote:
        """Wait until a service has written its bytes.

        Raises:
            PeerFailed: None has.
        """
        if not self._await(lambda: bool(self._wrote), seconds):
            raise PeerFailed(f"a service has not written its bytes after {seconds:g} s")
        return self._wrote.pop()

    def _await(self, is_so: Callable[[], bool], seconds: float) -> bool:
        with self._news:
            return self._news.wait_for(is_so, seconds)

    def _read(self) -> None:
        while (data := self._socket.recv(256)) != b"end":
            kind, number, pid, *instants = data.decode("ascii").split()
            at = [int(instant) / 1e9 for instant in instants]
            with self._news:
                if kind == "run":
                    self._runs.setdefault(int(number), []).append(Run(int(number), int(pid), at[0]))
                elif self.on_wrote is not None:
                    self.on_wrote(Wrote(int(number), *at))
                else:
                    self._wrote.append(Wrote(int(number), *at))
                self._news.notify_all()


def marked(mark: str) -> dict[int, list[str]]:
    """Return the living processes with a text in environment or command line, never our own.

    Returns:
        The command line by pid.
    """
    sign, found = mark.encode(), dict[int, list[str]]()
    for entry in os.scandir("/proc"):
        pid = int(entry.name) if entry.name.isdecimal() else 0
        if pid in {0, os.getpid()}:
            continue
        with suppress(OSError):
            line = Path(entry.path, "cmdline").read_bytes()
            if (sign in line or sign in Path(entry.path, "environ").read_bytes()) and _is_alive(pid):
                found[pid] = line.decode(errors="replace").split("\0")
    return found


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[0] not in "ZX"
    return False


def open_pidfd(pid: int, mark: str) -> int | None:
    """Return a pidfd of a process that has the mark; None where it is gone, or another's now."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    for file in ("cmdline", "environ"):
        with suppress(OSError):
            if mark.encode() in Path(f"/proc/{pid}/{file}").read_bytes():
                return pidfd
    os.close(pidfd)
    return None


def end_all(mark: str, is_service: Callable[[list[str]], bool]) -> int:
    """Kill what has the mark, supervisors before services, until none is left; return how many those were.

    Raises:
        StillAlive: Some outlive SIGKILL.
    """
    ended, end = set[int](), time.monotonic() + _END_TIME
    while found := marked(mark):
        if time.monotonic() > end:
            raise StillAlive(f"still alive after SIGKILL: {sorted(found)}")
        for pid in sorted(found, key=lambda pid: is_service(found[pid])):
            pidfd = open_pidfd(pid, mark)
            if pidfd is not None:
                ended.add(pid)
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)
        select.select([], [], [], 0.02)
    return len(ended)


def pss_of(pids: Iterable[int]) -> float:
    """Return the proportional set size of processes in MB (10^6 bytes); one that has ended counts nothing."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total * 1024 / 1e6


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes have used so far: seconds of processor time, and how often they went to sleep."""

    cpu: float
    sleeps: int


def usage_of(pids: Iterable[int]) -> Usage:
    """Return the usage of processes, over all of their threads."""
    cpu, sleeps = 0, 0
    for pid in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError, IndexError):
                    cpu += _nanoseconds(task)
                    status = (task / "status").read_text(encoding="utf-8", errors="replace")
                    sleeps += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return Usage(cpu / 1e9, sleeps)


def _nanoseconds(task: Path) -> int:
    with suppress(FileNotFoundError):  # a kernel may be without it
        return int((task / "schedstat").read_text(encoding="ascii").split()[0])
    words = (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
