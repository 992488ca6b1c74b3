"""What only Orchestra is asked to show: respawns under load, status calls, probes, a daemon that comes back.

Each part stands alone: one that cannot be had is a fault, and the next is tried.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, ClassVar

from compare_peers import Floor, Kit, Orchestra, Peer
from compare_play import Effort, staged, time_respawns
from compare_programs import Programs, compiled
from compare_world import Listener, PeerFailed, StillAlive, Wrote, open_pidfd, usage_of

__all__ = ["ALONE", "measure_alone"]

ALONE: dict[str, tuple[str, str, float]] = {
    "respawn_quiet": ("respawn, while nothing else happens", "ms", 1000),
    "respawn_loud": (
        "respawn, while a service writes at full speed, at 200 status calls a second",
        "ms",
        1000,
    ),
    "floor_quiet": ("respawn by bare fork and exec in C, while nothing else happens", "ms", 1000),
    "floor_loud": ("respawn by bare fork and exec in C, beside the same writer and calls", "ms", 1000),
    "calls_rate": ("status calls answered", "a second", 1),
    "calls_cpu": ("processor time of the daemon, with these", "% of a core", 100),
    "probes_rate": ("HTTP readiness probes", "a second", 1),
    "probes_cpu": ("processor time of the daemon, with these", "% of a core", 100),
    "probes_late": ("between two probes of a service, longer than asked", "ms", 1000),
    "back": ("until control answers again after the daemon's SIGKILL", "s", 1),
}
"""By figure: what it is, its unit, and the factor to that from the unit of the file."""

_RATE = 200.0  # status calls a second
_PATIENCE = 30.0
_CALLS = r"""
import socket, sys, time
path, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
question = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
began, answered = time.monotonic(), 0
print("calling", flush=True)
for number in range(int(rate * seconds)):
    time.sleep(max(0.0, began + number / rate - time.monotonic()))
    if time.monotonic() > began + seconds:
        break
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10)
        one.connect(path)
        one.sendall(question)
        first = one.recv(1 << 18)
        while one.recv(1 << 18):
            pass
    answered += first.startswith(b"HTTP/1.1 200")
print(answered, time.monotonic() - began)
"""
_ANSWERER = r"""
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* answer RECORDS: prints its port, answers all with 200, and records `NUMBER NANOSECONDS` of /NUMBER */
int main(int count, char **words) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    socklen_t size = sizeof at;
    struct timeval patience = {.tv_sec = 1};
    char text[4096];
    int door = socket(AF_INET, SOCK_STREAM, 0), one;
    FILE *records = count == 2 ? fopen(words[1], "w") : 0;
    if (!records || bind(door, (struct sockaddr *)&at, size) || listen(door, 1024)) return 1;
    if (getsockname(door, (struct sockaddr *)&at, &size)) return 1;
    setvbuf(records, 0, _IOLBF, 1 << 16);
    signal(SIGPIPE, SIG_IGN);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    while ((one = accept(door, 0, 0)) >= 0) {
        struct timespec now;
        ssize_t got;
        clock_gettime(CLOCK_MONOTONIC, &now);
        setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        got = recv(one, text, sizeof text - 1, 0);
        if (got > 5) {
            text[got] = 0;
            fprintf(records, "%d %lld\n", atoi(text + 5), now.tv_sec * 1000000000LL + now.tv_nsec);
            if (send(one, answer, strlen(answer), 0) < 0) { /* it went away */ }
        }
        close(one);
    }
    return 1;
}
"""


class _Rotating(Orchestra):
    """Its logs are rotated, so that a service can write for long."""

    log_options: ClassVar[Mapping[str, object]] = {"max_bytes": "64MB", "backups": 1, "compress": False}


class _Probed(Orchestra):
    """Every service has an HTTP probe at `port`, once in `period` seconds."""

    port: ClassVar[int] = 0
    period: ClassVar[float] = 0.2

    def extra(self, number: int) -> dict[str, object]:
        http = {"url": f"http://127.0.0.1:{self.port}/{number}"}
        return {"probes": {"readiness": {"http": http, "period": self.period, "timeout": 5}}}


class _Alone:
    """Takes the parts one by one.

    Args:
        folder: Of the plays; must not be in use.
        kit: Of Orchestra.
        programs: What it runs.
        is_brief: Hardly anything of each part.
        faults: Is added to.
    """

    def __init__(
        self, folder: Path, kit: Kit, programs: Programs, faults: list[str], *, is_brief: bool
    ) -> None:
        self._folder = folder
        self._kit = kit
        self._programs = programs
        self._faults = faults
        self._few, self._many = (3, 5) if is_brief else (50, 200)
        self._times = 1 if is_brief else 5
        self._seconds = 1.5 if is_brief else 10.0
        self.found: dict[str, list[float]] = {}

    def loud(self) -> None:
        """Respawns in quiet, then beside a service that writes and beside status calls, by turns.

        A bare fork and exec in the same weather shows how much of the difference is the machine's: who is
        killed, and who follows, wait for a processor whoever supervises them.
        """
        effort, folder = Effort(self._many), self._folder / "floor"
        make = (Floor, Floor.install(folder))
        with (
            self._stage(_Rotating, self._many) as (peer, listener),
            staged(make, self._programs, folder, effort, self._faults) as (floor, heard),
        ):
            floor.up()
            heard.await_services(self._many, _PATIENCE, floor.check)
            sides = (("respawn", peer, listener), ("floor", floor, heard))
            for _ in range(1 if self._times == 1 else 3):
                for name, one, ear in sides:
                    times = self.found.setdefault(f"{name}_quiet", [])
                    time_respawns(ear, f"{one.folder}/", times, 60, self._seconds)
                for name, one, ear in sides:
                    times = self.found.setdefault(f"{name}_loud", [])
                    with _writing(peer, listener), self._calls(peer) as calls:
                        time_respawns(ear, f"{one.folder}/", times, 60, self._seconds - 1)
                        calls()

    def calls(self) -> None:
        """Status calls, and nothing else."""
        with self._stage(Orchestra, self._few) as (peer, _):
            daemon = _daemon_of(peer)
            with self._calls(peer) as wait:
                time.sleep(self._seconds / 10)
                before, began = usage_of([daemon]), time.monotonic()
                time.sleep(self._seconds * 0.8)
                share = (usage_of([daemon]).cpu - before.cpu) / (time.monotonic() - began)
                self.found["calls_rate"], self.found["calls_cpu"] = [wait()], [share]

    def back(self) -> None:
        """A daemon's death, the first one of each fleet: after further ones there is a pause."""
        for _ in range(self._times):
            with self._stage(Orchestra, self._few) as (peer, _):
                self.found.setdefault("back", []).append(_kill_daemon(peer))

    def probes(self) -> None:
        """A thousand probes a second, at a server that notes when they come."""
        program = compiled(self._folder, "answerer", _ANSWERER)
        if program is None:
            raise PeerFailed("there is no C compiler for the server that is probed")
        records = self._folder / "records"
        answerer = subprocess.Popen([program, str(records)], stdout=subprocess.PIPE, encoding="ascii")
        try:
            assert answerer.stdout is not None
            _Probed.port = int(_line(answerer.stdout, "the server that is probed"))
            with self._stage(_Probed, self._many) as (peer, _):
                daemon = _daemon_of(peer)
                time.sleep(2 * _Probed.period)
                before, began = usage_of([daemon]), time.monotonic()
                time.sleep(self._seconds)
                took = time.monotonic() - began
                self.found["probes_cpu"] = [(usage_of([daemon]).cpu - before.cpu) / took]
                late = _lateness(records, began, began + took)
                self.found["probes_rate"] = [len(late) / took]
                self.found["probes_late"] = [
                    float(f"{one:.4g}") for one in late[:: max(1, len(late) // 1000)]
                ]
        finally:
            answerer.kill()
            answerer.communicate()

    @contextmanager
    def _stage(self, kind: type[Peer], services: int) -> Generator[tuple[Peer, Listener]]:
        effort = Effort(services, size=200_000_000)
        make, folder = (kind, self._kit), self._folder / "play"
        with staged(make, self._programs, folder, effort, self._faults) as (peer, listener):
            peer.up()
            listener.await_services(services, _PATIENCE, peer.check)
            time.sleep(1.0)
            yield peer, listener

    @contextmanager
    def _calls(self, peer: Peer) -> Generator[Callable[[], float]]:
        """Have status calls come in; yields what waits for their end and returns how many a second came."""
        path = str(peer.folder / ".orchestra" / "control.sock")
        argv = [sys.executable, "-I", "-S", "-c", _CALLS, path, str(_RATE), str(self._seconds)]
        caller = subprocess.Popen(argv, stdout=subprocess.PIPE, encoding="ascii")
        assert caller.stdout is not None
        out = caller.stdout

        def wait() -> float:
            answered, took = _line(out, "who asks for the status", self._seconds + _PATIENCE).split()
            return int(answered) / float(took)

        try:
            _line(out, "who asks for the status")
            yield wait
        finally:
            caller.kill()
            caller.communicate()


def _line(stream: IO[str], whose: str, seconds: float = _PATIENCE) -> str:
    """Return the next line of a process, which has had at most one."""
    line = stream.readline() if select.select([stream], [], [], seconds)[0] else ""
    if not line:
        raise PeerFailed(f"{whose} says nothing")
    return line


@contextmanager
def _writing(peer: Peer, listener: Listener) -> Generator[None]:
    """Have the last service write without a pause, from the thread that hears that it is done."""
    run = max(listener.last_runs(), key=lambda run: run.at)
    pidfd = open_pidfd(run.pid, f"{peer.folder}/")
    if pidfd is None:
        raise PeerFailed("the service that was to write has ended")

    def again(_: Wrote) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGUSR1)

    listener.on_wrote = again
    listener.spared = run.number
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
        yield
    finally:
        listener.on_wrote = None
        listener.spared = None
        os.close(pidfd)


def _daemon_of(peer: Peer) -> int:
    return int(json.loads(peer.run(*peer.status(), "--json"))["daemon"]["pid"])


def _kill_daemon(peer: Peer) -> float:
    """Kill the daemon; return the seconds until another answers."""
    pidfd = open_pidfd(_daemon_of(peer), f"{peer.folder}/")
    if pidfd is None:
        raise PeerFailed("the daemon is gone by itself")
    try:
        began = time.monotonic()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not select.select([pidfd], [], [], _PATIENCE)[0]:
            raise PeerFailed("the daemon outlives SIGKILL")
    finally:
        os.close(pidfd)
    path = str(peer.folder / ".orchestra" / "control.sock")
    argv = [sys.executable, "-I", "-S", "-c", _ANSWERS, path, str(_PATIENCE)]
    done = subprocess.run(argv, capture_output=True, encoding="ascii", timeout=2 * _PATIENCE, check=False)
    if done.returncode:
        raise PeerFailed("no daemon answers after the SIGKILL of the last one")
    return float(done.stdout) - began


_ANSWERS = r"""
import socket, sys, time
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(10)
            one.connect(sys.argv[1])
            one.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if one.recv(64).startswith(b"HTTP/1.1 200"):
                print(time.monotonic())
                sys.exit(0)
    except OSError:
        pass
    time.sleep(0.005)
sys.exit(1)
"""


def _lateness(records: Path, began: float, ended: float) -> list[float]:
    """Return by how many seconds each pause between two probes of a service was longer than asked."""
    last, late = dict[str, float](), list[float]()
    for line in records.read_text(encoding="ascii").splitlines():
        number, _, instant = line.partition(" ")
        at = int(instant or 0) / 1e9
        if began <= at <= ended:
            if number in last:
                late.append(at - last[number] - _Probed.period)
            last[number] = at
    if not late:
        raise PeerFailed("no probe came in")
    return late


def measure_alone(
    folder: Path, kit: Kit, programs: Programs, faults: list[str], *, is_brief: bool
) -> dict[str, list[float]]:
    """Take all parts; return what was found, by the names of `ALONE`.

    Raises:
        StillAlive: Something that was started is.
    """
    alone = _Alone(folder, kit, programs, faults, is_brief=is_brief)
    for part in (alone.loud, alone.calls, alone.back, alone.probes):
        count = len(faults)
        try:
            part()
        except StillAlive:
            raise
        except (PeerFailed, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            faults.append(str(error))
        faults[count:] = [f"{part.__name__}: {fault}" for fault in faults[count:]]
    return alone.found
