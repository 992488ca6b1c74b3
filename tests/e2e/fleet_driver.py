"""Drives a real fleet by the real command, and looks at its processes from outside.

Everything that a fleet of a test starts has the test's folder in its environment or on its command line:
that is how nothing of it is left, and how nothing of anybody else is touched.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.control_home import socket_path

__all__ = [
    "DEADLINE",
    "PYTHON",
    "ROOT",
    "Fleet",
    "Row",
    "alive",
    "is_marked",
    "marked",
    "python",
    "state_of",
    "ticks",
    "until",
]

T = TypeVar("T")
Row = dict[str, Any]
"""One service, event or answer, as JSON has it: a test that asks for what is not there fails."""

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0
"""Seconds after which a wait fails its test; generous, as it bounds a failure and no measurement."""
PYTHON = [sys.executable, "-I", "-S", "-c"]
"""A Python that starts in 15 ms."""


def python(code: str, *words: object) -> list[str]:
    """Return the command of a small Python program."""
    return [*PYTHON, code, *map(str, words)]


def until(condition: Callable[[], T | None], what: str, deadline: float = DEADLINE) -> T:
    """Poll until a condition returns something true, and return that."""
    end = time.monotonic() + deadline
    pause = 0.002
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        select.select([], [], [], pause)
        pause = min(0.03, pause * 2)
    return found


def state_of(pid: int) -> str:
    """Return the kernel's letter for the state of a process; `X` when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    return state_of(pid) not in "ZX"


def ticks(pid: int) -> int:
    """Return the start time of a process as the kernel counts it."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])


def marked(mark: str) -> list[int]:
    """Return the living processes with a text in environment or command line; never our own."""
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal()]
    return [pid for pid in pids if pid != os.getpid() and is_marked(pid, mark) and alive(pid)]


def is_marked(pid: int, mark: str) -> bool:
    """True when a process has a text in its environment or command line."""
    for file in ("environ", "cmdline"):
        with suppress(OSError):
            if mark.encode() in Path(f"/proc/{pid}/{file}").read_bytes():
                return True
    return False


class Fleet:
    """A folder with a configuration, and the fleet that runs on it; end it with `end`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / ".orchestra"

    def write(self, services: dict[str, object], **settings: object) -> None:
        """Write `orchestra.json`; each service gets a bare Python's environment."""
        text = json.dumps({"settings": settings, "services": services}, indent=1)
        (self.path / "orchestra.json").write_text(text, encoding="utf-8")

    def argv(self, *words: str) -> list[str]:
        """Return a command line of the command."""
        return [sys.executable, "-P", "-m", "orchestra_supervisor", *words]

    def environ(self, **extra: str) -> dict[str, str]:
        """Return the environment in which the command is run."""
        env = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        return env | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TEST_FOLDER": f"{self.path}/"} | extra

    def run(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.argv(*words),
            cwd=self.path,
            env=self.environ(**extra),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=40,
            check=False,
        )

    def ok(self, *words: str, **extra: str) -> str:
        """Run a command that must succeed; return its stdout."""
        done = self.run(*words, **extra)
        assert done.returncode == 0, (
            f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.said()}"
        )
        return done.stdout

    def up(self, *words: str, **extra: str) -> str:
        """Start the fleet and return when it is settled."""
        return self.ok("up", "--detach", *words, **extra)

    @property
    def client(self) -> ControlClient:
        """A client that waits for a daemon which is being replaced."""
        return ControlClient(socket_path(self.home), timeout=DEADLINE, connect_wait=DEADLINE)

    @property
    def keeper(self) -> int:
        """Pid of the keeper."""
        return int((self.home / "lock").read_text(encoding="ascii").split()[0])

    def status(self) -> dict[str, Row]:
        """Return the services by name, asking again where the daemon dies under the question."""
        return {str(row["name"]): row for row in rows(self._ask(), "services")}

    def daemon(self) -> Row:
        """Return what status says of the daemon."""
        return self._ask()["daemon"]

    def _ask(self) -> Row:
        def ask() -> Row | None:
            with suppress(ControlError):
                return self.client.status()
            return None

        return until(ask, f"the daemon answers; supervisor.log: {self.said()}")

    def service(self, name: str) -> Row:
        """Return what status says of a service."""
        return self.status()[name]

    def pid(self, name: str) -> int:
        """Return the pid of a service that runs."""
        pid = self.service(name)["pid"]
        assert isinstance(pid, int), f"{name} does not run"
        return pid

    def until_state(self, name: str, *states: str, deadline: float = DEADLINE) -> Row:
        """Wait until a service is in one of some states."""
        last: list[Row] = []

        def look() -> Row | None:
            last[:] = [self.service(name)]
            return last[0] if last[0]["state"] in states else None

        try:
            return until(look, f"{name} is {' or '.join(states)}", deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}; {last}; {self.said()}") from None

    def events(self, kind: str = "", service: str = "") -> list[Row]:
        """Return the newest 1,000 events of a kind or service, the oldest first."""
        answer = self.client.events(limit=1000, kind=kind or None, service=service or None)
        return rows(answer, "events")

    def until_event(self, kind: str, service: str = "", deadline: float = DEADLINE) -> Row:
        """Wait for the first event of a kind."""

        def look() -> Row | None:
            with suppress(ControlError):
                return next(iter(self.events(kind, service)), None)
            return None

        return until(look, f"event {kind} {service}", deadline)

    def log(self, name: str) -> bytes:
        """Return what is in the log of a service."""
        path = self.home / "logs" / f"{name}.log"
        return path.read_bytes() if path.exists() else b""

    def until_log(self, name: str, text: str, deadline: float = DEADLINE) -> bytes:
        """Wait until a text is in a log; return the log."""
        found = until(lambda: text.encode() in self.log(name), f"{name} says {text!r}", deadline)
        assert found
        return self.log(name)

    def said(self) -> str:
        """Return the last messages of keeper, logger and daemon."""
        with suppress(OSError):
            return (self.home / "supervisor.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        return ""

    def role(self, name: str) -> int | None:
        """Return the pid of the daemon or the logger, as a child of the keeper; None while there is none."""
        sign = {"daemon": "orchestra_supervisor.daemon", "logger": "/logger/__main__.py"}[name]
        with suppress(OSError):
            for pid in (
                Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text(encoding="utf-8").split()
            ):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[1:5]
                # What packs a segment for a logger that was killed leads no session.
                if os.getsid(int(pid)) == int(pid) and any(word.endswith(sign) for word in words):
                    return int(pid)
        return None

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Signal a process of this fleet; with SIGKILL wait until it is dead."""
        pidfd = os.pidfd_open(pid)
        try:
            assert is_marked(pid, f"{self.path}/"), f"{pid} is none of ours"
            signal.pidfd_send_signal(pidfd, number)
            if number == signal.SIGKILL:
                assert select.select([pidfd], [], [], DEADLINE)[0], f"{pid} outlives SIGKILL"
        finally:
            os.close(pidfd)

    def kill_daemon(self) -> int:
        """Kill the daemon that answers; return its pid."""
        pid = self.daemon()["pid"]
        assert isinstance(pid, int)
        self.kill(pid)
        return pid

    def processes(self) -> list[int]:
        """Return the pids of all that belongs to this fleet."""
        return marked(f"{self.path}/")

    def end(self) -> None:
        """Kill whatever is left: the keeper first, so that nothing comes back."""
        with suppress(OSError, ValueError, AssertionError):
            self.kill(self.keeper)
        for pid in _until_none(self.processes):
            with suppress(OSError):
                pidfd = os.pidfd_open(pid)
                if is_marked(pid, f"{self.path}/"):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)


def _until_none(find: Callable[[], list[int]]) -> Iterator[int]:
    end = time.monotonic() + DEADLINE
    while found := find():
        assert time.monotonic() < end, f"still there: {found}"
        yield from found
        select.select([], [], [], 0.01)
