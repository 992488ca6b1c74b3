"""Kills the daemon or the logger again and again under load, and accounts for every line and process.

A fleet of services writes numbered lines at a rate while a role is ended by SIGKILL at random moments.
Afterwards each service must be the very process that it was, and each line that it wrote must be in its
log once and in order, rotation and packing included.

    python benchmarks/soak.py --kills 50 --services 20 --rate 1000 --target daemon

Exit status 0 when nothing was lost, 1 when something was, 2 when the soak could not be carried out.
"""

import argparse
import gzip
import json
import os
import platform
import random
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestra_supervisor.control_client import ControlClient, ControlError, Json, rows
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.logfile.segments import list_segments

__all__ = ["LineCount", "SoakFailed", "count_lines", "main"]

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0  # seconds for any one thing to happen; the keeper's longest pause between starts is 30
_TICK = 0.01  # seconds between the bursts of a service
_SIGNS = {"daemon": "orchestra_supervisor.daemon", "logger": "/logger/__main__.py"}

WRITER = """
import os, signal, sys, time
name, rate, count, stream = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
done, began = 0, time.monotonic()
while not stop:
    due = int((time.monotonic() - began) * rate)
    while done < due and not stop:
        done += 1
        os.write(stream, b"%s %d\\n" % (name.encode(), done))
    time.sleep(TICK)
with open(count, "w") as file:
    file.write(str(done))
"""


class SoakFailed(Exception):
    """The soak could not be carried out: nothing is known about losses."""


@dataclass(slots=True)
class LineCount:
    """What is in the log of one service, against what it wrote.

    Attributes:
        written: Lines that the service says it wrote.
        found: Lines of its form in the log.
        lost: Numbers that are not there.
        repeated: Lines whose number was there already.
        disordered: Lines that came after one with a higher number.
        foreign: Lines of no known form.
    """

    written: int
    found: int = 0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0
    foreign: int = 0

    @property
    def is_whole(self) -> bool:
        """True when every line is there once and in order, and nothing else."""
        return not (self.lost or self.repeated or self.disordered or self.foreign)


def count_lines(name: str, written: int, lines: Iterable[bytes]) -> LineCount:
    """Hold the lines of a log against the numbers 1 to `written`."""
    count = LineCount(written)
    form = re.compile(rb"%s (\d+)\n" % re.escape(name.encode()))
    seen = bytearray(written + 1)
    highest = 0
    for line in lines:
        match = form.fullmatch(line)
        number = int(match[1]) if match else 0
        if not 0 < number <= written:
            count.foreign += 1
            continue
        count.found += 1
        count.repeated += seen[number]
        count.disordered += number < highest
        seen[number] = 1
        highest = max(highest, number)
    count.lost = written - sum(seen)
    return count


def log_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a log, the oldest first; a line may cross from segment to segment."""
    rest = b""
    for segment in list_segments(str(path)):
        if segment.plain:
            data = Path(segment.path).read_bytes()
        else:
            data = gzip.decompress(Path(segment.path + ".gz").read_bytes())
        *lines, rest = (rest + data).split(b"\n")
        yield from (line + b"\n" for line in lines)
    *lines, rest = (rest + path.read_bytes()).split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


@dataclass(slots=True)
class Result:
    """What a soak has shown; printed as it is by --json."""

    target: str
    seed: int
    kills: int = 0
    seconds: float = 0.0
    services: int = 0
    written: int = 0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0
    foreign: int = 0
    replaced: list[str] = field(default_factory=list[str])
    restarted: list[str] = field(default_factory=list[str])
    ages: list[float] = field(default_factory=list[float])
    gaps: list[float] = field(default_factory=list[float])
    packed: int = 0

    @property
    def is_whole(self) -> bool:
        """True when nothing was lost, repeated, mixed up or restarted."""
        wrong = self.lost + self.repeated + self.disordered + self.foreign
        return not (wrong or self.replaced or self.restarted)


class Soak:
    """One fleet under fire.

    Args:
        options: The command line.
        folder: Where configuration, home and counts are kept.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._home = folder / ".orchestra"
        self._names = [f"writer{number}" for number in range(options.services)]
        self._dice = random.Random(options.seed)
        self._client = ControlClient(socket_path(self._home), timeout=PATIENCE, connect_wait=PATIENCE)
        self._keeper = 0

    def run(self) -> Result:
        """Start the fleet, kill, stop, and count."""
        result = Result(self._options.target, self._options.seed, services=len(self._names))
        self._configure()
        began = 0.0
        try:
            self._orchestra("up", "--detach")
            began = time.monotonic()
            before = self._services()
            self._keeper = int((self._home / "lock").read_text(encoding="ascii").split()[0])
            self._fire(result)
            self._pause(began + self._options.seconds - time.monotonic())
            after = self._services()
        finally:
            self._orchestra("down")
        result.seconds = time.monotonic() - began
        for name in self._names:
            if before[name]["pid"] != after[name]["pid"]:
                result.replaced.append(name)
            if after[name]["restarts"] or after[name]["state"] != "ready":
                result.restarted.append(name)
            self._account(name, result)
        return result

    def _configure(self) -> None:
        argv = [sys.executable, "-I", "-S", "-c", WRITER.replace("TICK", str(_TICK))]
        # Half of them write to stderr. One that used both would have two pipes, whose order nobody knows.
        services = {
            name: {
                "command": [
                    *argv,
                    name,
                    str(self._options.rate),
                    str(self._folder / f"{name}.count"),
                    str(1 + place % 2),
                ]
            }
            for place, name in enumerate(self._names)
        }
        log = {"max_bytes": self._options.rotate, "backups": 1_000}
        settings = {"defaults": {"log": log, "stop": {"grace": PATIENCE}}}
        text = json.dumps({"settings": settings, "services": services})
        (self._folder / "orchestra.json").write_text(text, encoding="utf-8")

    def _services(self) -> dict[str, Json]:
        return {str(row["name"]): row for row in rows(self._client.status(), "services")}

    def _fire(self, result: Result) -> None:
        roles = ["daemon", "logger"] if self._options.target == "both" else [self._options.target]
        mean = self._options.gap or self._options.seconds / max(1, self._options.kills)
        nudged = 0.0
        while result.kills < self._options.kills:
            role = self._dice.choice(roles)
            since = time.monotonic()
            pidfd = self._await(lambda role=role: self._open(role), f"a {role} runs")
            wait = time.monotonic() - since
            age = self._dice.expovariate(1 / mean)
            try:
                if select.select([pidfd], [], [], age)[0]:
                    # SIGUSR2 may find the next daemon there already, and replace that one.
                    if role == "daemon" and time.monotonic() - nudged < PATIENCE / 10 + age:
                        continue
                    raise SoakFailed(f"a {role} ended by itself; see supervisor.log")
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                if not select.select([pidfd], [], [], PATIENCE)[0]:
                    raise SoakFailed(f"a {role} outlives SIGKILL")
            finally:
                os.close(pidfd)
            result.kills += 1
            result.ages.append(age)
            result.gaps.append(wait)
            if self._options.nudge and role == "daemon" and self._role(role) is None:
                os.kill(self._keeper, signal.SIGUSR2)  # no pause before the next daemon
                nudged = time.monotonic()

    def _open(self, role: str) -> int | None:
        """Return a pidfd of a role; a number of a process that has gone meanwhile is not followed."""
        pid = self._role(role)
        if pid is None:
            return None
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        if self._role(role) == pid:
            return pidfd
        os.close(pidfd)
        return None

    def _role(self, role: str) -> int | None:
        children = Path(f"/proc/{self._keeper}/task/{self._keeper}/children").read_text(encoding="ascii")
        for pid in map(int, children.split()):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                leads = os.getsid(pid) == pid  # what packs a segment for a logger that was killed does not
            except OSError:
                continue
            if leads and any(word.endswith(_SIGNS[role]) for word in words[1:5]):
                return pid
        return None

    def _account(self, name: str, result: Result) -> None:
        written = int((self._folder / f"{name}.count").read_text(encoding="ascii"))
        path = self._home / "logs" / f"{name}.log"
        count = count_lines(name, written, log_lines(path))
        for key in ("written", "lost", "repeated", "disordered", "foreign"):
            setattr(result, key, getattr(result, key) + getattr(count, key))
        result.packed += len(list_segments(str(path)))

    def _orchestra(self, *words: str) -> None:
        argv = [sys.executable, "-P", "-m", "orchestra_supervisor", "--home", str(self._home), *words]
        env = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRA_")}
        env["PYTHONPATH"] = str(ROOT)
        done = subprocess.run(
            argv,
            cwd=self._folder,
            env=env,
            capture_output=True,
            encoding="utf-8",
            timeout=3 * PATIENCE,
            check=False,
        )
        if done.returncode:
            raise SoakFailed(f"`orchestra {' '.join(words)}` ended with {done.returncode}: {done.stderr}")

    def _await(self, look: Callable[[], int | None], what: str) -> int:
        end = time.monotonic() + PATIENCE
        while (found := look()) is None:
            if time.monotonic() > end:
                raise SoakFailed(f"not within {PATIENCE:g} s: {what}")
            self._pause(0.005)
        return found

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


def show(result: Result, options: argparse.Namespace) -> None:
    """Print the result for people."""
    rate = result.written / result.seconds
    print(
        f"{result.kills} x SIGKILL of the {result.target} within {result.seconds:.1f} s, seed {result.seed}"
    )
    print(f"  {result.services} services x {options.rate} lines/s wished, {rate:,.0f} lines/s in all written")
    print(f"  lines written {result.written:,}; lost {result.lost}, repeated {result.repeated}, ", end="")
    print(f"out of order {result.disordered}, foreign {result.foreign}")
    print(f"  rotated segments {result.packed}")
    print(f"  services with another pid: {', '.join(result.replaced) or 'none'}")
    print(f"  services restarted or not ready: {', '.join(result.restarted) or 'none'}")
    for what, values in (("age at its kill", result.ages), ("wait for the next one", result.gaps)):
        if values:
            print(f"  {what}: median {statistics.median(values):.2f} s, longest {max(values):.2f} s")
    print(f"  on {os.cpu_count()} cores, Python {platform.python_version()}, {platform.platform()}")
    print("nothing was lost" if result.is_whole else "SOMETHING WAS LOST")


def _end(*_: object) -> None:
    """End as after any other failure: with the fleet down."""
    sys.exit("soak: told to end")


def main(arguments: list[str] | None = None) -> int:
    """Run a soak; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs (default 50)")
    parser.add_argument("--services", type=int, default=20, help="services (default 20)")
    parser.add_argument("--rate", type=int, default=1000, help="lines a second of each (default 1000)")
    parser.add_argument("--target", choices=["daemon", "logger", "both"], default="daemon")
    parser.add_argument("--seconds", type=float, default=60.0, help="least length; spreads the kills")
    parser.add_argument("--gap", type=float, default=0.0, help="mean age of a role at its kill, in seconds")
    parser.add_argument("--rotate", default="1MB", help="size at which logs are rotated (default 1MB)")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; printed, to be given again")
    parser.add_argument("--nudge", action="store_true", help="SIGUSR2 to the keeper after each daemon's kill")
    parser.add_argument("--folder", type=Path, default=None, help="kept; default: a temporary one, removed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    signal.signal(signal.SIGTERM, _end)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="orchestra-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = Soak(options, folder).run()
    except (SoakFailed, ControlError, subprocess.TimeoutExpired) as error:
        print(f"soak: {error}; its folder is {folder}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(asdict(result) | {"is_whole": result.is_whole}))
    else:
        show(result, options)
    if result.is_whole and options.folder is None:
        shutil.rmtree(folder)
    elif not result.is_whole:
        print(f"soak: its folder is {folder}", file=sys.stderr)
    return 0 if result.is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
