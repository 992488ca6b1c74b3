"""Times how long after a crash the next process of a service runs, beside the least that this can take.

A service says its pid in a datagram the moment it runs. It is ended by SIGKILL again and again; what counts
is the time from that signal to the datagram of the process that follows, on one clock, outside of the
supervisor. In turn with the kills the same program is started by fork and exec from a small Python, timed in
the same way: the floor.

    python benchmarks/respawn.py --services 1,50,200 --kills 60

The other services are idle. Nothing is judged: exit status 0 when it was timed, 2 when that was not possible.
"""

import argparse
import json
import math
import os
import platform
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Self

__all__ = ["RespawnFailed", "Round", "Spread", "main"]

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0  # seconds for any one thing to happen
_STABLE = 0.05  # seconds of life after which a restart happens at once
_PAUSES = (0.1, 0.2)  # seconds between two timings; at random, so as to keep step with nothing

C_SERVICE = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    char text[16];
    int size = snprintf(text, sizeof text, "%d", (int)getpid());
    int out = socket(AF_INET, SOCK_DGRAM, 0);
    if (count != 2) return 2;
    to.sin_port = htons((unsigned short)atoi(words[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sendto(out, text, (size_t)size, 0, (struct sockaddr *)&to, sizeof to) != size) return 1;
    close(out);
    for (;;) pause();
}
"""
PYTHON_SERVICE = """
import os, signal, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.sendto(b"%d" % os.getpid(), ("127.0.0.1", int(sys.argv[1])))
while True:
    signal.pause()
"""
# A line from us: start it, say the instant; the next line: end it.
FLOOR = """
import os, signal, sys, time
argv = sys.argv[1:]
while sys.stdin.readline():
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        os.execv(argv[0], argv)
    print(began, pid, flush=True)
    sys.stdin.readline()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


class RespawnFailed(Exception):
    """It could not be timed."""


class StillUp(RespawnFailed):
    """A fleet is not down: its folder must stay."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds that something took, of many times."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """Return the spread of some values, by nearest rank."""
        ranked = sorted(values)
        return cls(*(ranked[math.ceil(share * len(ranked)) - 1] for share in (0.5, 0.99, 1.0)))

    def over(self, floor: "Spread") -> "Spread":
        """Return how many times the floor each figure is."""
        return Spread(self.p50 / floor.p50, self.p99 / floor.p99, self.max / floor.max)


@dataclass(slots=True)
class Round:
    """What one size of fleet has shown, in seconds; printed as it is by --json."""

    services: int
    respawns: list[float] = field(default_factory=list[float])
    floors: list[float] = field(default_factory=list[float])

    def spreads(self) -> dict[str, Spread]:
        """Return the spread of the respawns, that of the floor, and their ratio."""
        respawn, floor = Spread.of(self.respawns), Spread.of(self.floors)
        return {"respawn": respawn, "floor": floor, "ratio": respawn.over(floor)}


class Listener:
    """Where processes say that they run."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self.port = int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def hear(self, what: str) -> tuple[float, int]:
        """Return the instant of the next datagram, and the pid in it."""
        try:
            data = self._socket.recv(64)
        except TimeoutError:
            raise RespawnFailed(f"not within {PATIENCE:g} s: {what}") from None
        return time.monotonic(), int(data)

    def is_silent(self) -> bool:
        """True while nothing waits to be heard."""
        return not select.select([self._socket], [], [], 0)[0]


class Target:
    """The process of the service that runs now, known by pid and start time.

    Args:
        pid: Of the process, as it said itself.
        sign: Text on the command line of every process of this service, and of no other.
    """

    def __init__(self, pid: int, sign: str) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._ticks = _ticks(pid)
        if sign.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.close(self._pidfd)
            raise RespawnFailed(f"pid {pid} said that it runs, and is none of ours")

    def kill(self) -> float:
        """End it by SIGKILL; return the instant just before."""
        if _ticks(self.pid) != self._ticks:
            raise RespawnFailed(f"pid {self.pid} is another process now")
        try:
            began = time.monotonic()
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        finally:
            os.close(self._pidfd)
        return began


def _ticks(pid: int) -> int:
    """Return the start time of a process as the kernel counts it."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError as error:
        raise RespawnFailed(f"pid {pid} ended by itself") from error
    return int(text.rpartition(")")[2].split()[19])


class Floor:
    """Starts the same program by fork and exec, from a process with one thread and little memory."""

    def __init__(self, argv: list[str], listener: Listener) -> None:
        self._listener = listener
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", FLOOR, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
            start_new_session=True,  # Ctrl-C is ours: it ends when we close its stdin
        )

    def close(self) -> None:
        """End it, and what it has started."""
        self._pipes()[0].close()
        self._process.wait(PATIENCE)
        self._pipes()[1].close()

    def measure(self) -> float:
        """Start the program once; return the seconds until it has said that it runs."""
        orders, answers = self._pipes()
        orders.write("start\n")
        orders.flush()
        at, pid = self._listener.hear("the program was started by fork and exec")
        began, started = answers.readline().split()
        if pid != int(started):
            raise RespawnFailed(f"pid {pid} said that it runs while pid {started} was started")
        orders.write("end\n")
        orders.flush()
        return at - float(began)

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


class Fleet:
    """One service to be killed, and idle ones beside it.

    Args:
        folder: Of the configuration and the home.
        argv: Of the service to be killed.
        services: How many there are in all.
    """

    def __init__(self, folder: Path, argv: list[str], services: int) -> None:
        self._folder = folder
        self._home = folder / ".orchestra"
        folder.mkdir()
        restart = {"policy": "always", "max_restarts": "unlimited", "stable_after": _STABLE}
        idle = {f"idle{number}": {"command": ["sleep", "infinity"]} for number in range(1, services)}
        fleet = {"services": {"target": {"command": argv, "restart": restart}, **idle}}
        (folder / "orchestra.json").write_text(json.dumps(fleet), encoding="utf-8")

    @contextmanager
    def running(self) -> Generator[None]:
        """Have the fleet up for the time of a block, and down after it, whatever happens."""
        try:
            self._orchestra("up", "--detach")
            yield
        finally:
            with _undisturbed():
                try:
                    self._orchestra("down")
                except (RespawnFailed, subprocess.TimeoutExpired) as error:
                    raise StillUp(f"{error}; its folder is {self._folder}") from error

    def _orchestra(self, *words: str) -> None:
        argv = [sys.executable, "-P", "-m", "orchestra_supervisor", "--home", str(self._home), *words]
        env = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRA_")}
        env["PYTHONPATH"] = str(ROOT)
        done = subprocess.run(
            argv,
            cwd=self._folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=3 * PATIENCE,
            check=False,
            start_new_session=True,  # Ctrl-C is ours alone
        )
        if done.returncode:
            raise RespawnFailed(f"`orchestra {' '.join(words)}` ended with {done.returncode}: {done.stderr}")


@contextmanager
def _undisturbed() -> Generator[None]:
    """Put off the signals that would end us: what has been started is to be ended first."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def time_respawns(folder: Path, program: list[str], services: int, kills: int) -> Round:
    """Time one size of fleet.

    Args:
        folder: Of this fleet; must not exist.
        program: The service, without its argument.
        services: How many there are in all.
        kills: How often the service is killed.
    """
    result = Round(services)
    listener = Listener()
    argv = [*program, str(listener.port)]
    floor = Floor(argv, listener)
    try:
        with Fleet(folder, argv, services).running():
            pid = listener.hear("the service runs")[1]
            for _ in range(kills):
                target = Target(pid, argv[-2])
                time.sleep(random.uniform(*_PAUSES))
                if not listener.is_silent():
                    raise RespawnFailed("the service was started again without a kill; see its log")
                began = target.kill()
                at, pid = listener.hear("the service was started again")
                result.respawns.append(at - began)
                time.sleep(random.uniform(*_PAUSES))
                result.floors.append(floor.measure())
    finally:
        floor.close()
        listener.close()
    return result


def build_service(folder: Path) -> tuple[list[str], str]:
    """Return the command of the service, without its argument, and what it is: `C`, else `Python`."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    source, program = folder / "service.c", folder / "service"
    source.write_text(C_SERVICE, encoding="utf-8")
    if compiler is not None:
        argv = [compiler, "-O2", "-o", str(program), str(source)]
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return [str(program)], "C"
    script = folder / "service.py"
    script.write_text(PYTHON_SERVICE, encoding="utf-8")
    return [sys.executable, "-I", "-S", str(script)], "Python"


def show(rounds: list[Round], language: str) -> None:
    """Print the result for people."""
    print("from SIGKILL to the next process at work (respawn), and fork and exec alone (floor), in ms")
    print(f"{'services':>8}  {'kills':>5}  {'':7}  {'p50':>8}  {'p99':>8}  {'max':>8}")
    for one in rounds:
        lead = f"{one.services:8}  {len(one.respawns):5}"
        for name, spread in one.spreads().items():
            factor, form = (1, ".1f") if name == "ratio" else (1000, ".2f")
            figures = (spread.p50 * factor, spread.p99 * factor, spread.max * factor)
            print(f"{lead}  {name:7}  " + "  ".join(f"{figure:8{form}}" for figure in figures))
            lead = " " * len(lead)
    if language != "C":
        print("no C compiler: the service is a Python program, whose own start is in both figures")
    print(f"on {os.cpu_count()} cores, Python {platform.python_version()}, {platform.platform()}")


def _counts(text: str) -> list[int]:
    counts = [int(word) for word in text.split(",")]
    if min(counts) < 1:
        raise ValueError
    return counts


def _end(*_: object) -> None:
    """End as after any other failure: with the fleet down."""
    sys.exit("respawn: told to end")


def main(arguments: list[str] | None = None) -> int:
    """Time fleets of each size; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--services", type=_counts, default=[1, 50, 200], metavar="N,N", help="sizes (default 1,50,200)"
    )
    parser.add_argument("--kills", type=int, default=60, help="SIGKILLs for each size (default 60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.kills < 1:
        parser.error("--kills must be at least 1")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    folder = Path(tempfile.mkdtemp(prefix="orchestra-respawn-"))
    is_left = False
    try:
        program, language = build_service(folder)
        rounds = [
            time_respawns(folder / f"fleet{place}", program, services, options.kills)
            for place, services in enumerate(options.services)
        ]
    except (RespawnFailed, subprocess.TimeoutExpired, OSError) as error:
        is_left = isinstance(error, StillUp)
        print(f"respawn: {error}", file=sys.stderr)
        return 2
    finally:
        if not is_left:
            shutil.rmtree(folder)
    if options.json:
        told = [asdict(one) | {key: asdict(value) for key, value in one.spreads().items()} for one in rounds]
        print(json.dumps({"service": language, "rounds": told}))
    else:
        show(rounds, language)
    return 0


if __name__ == "__main__":
    sys.exit(main())
