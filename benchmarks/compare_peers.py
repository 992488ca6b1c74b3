"""What a supervisor is to the comparison: how it is set up, started, asked and ended; ours, and the floor."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as version_of
from pathlib import Path
from typing import ClassVar

from compare_programs import Programs
from compare_world import PeerFailed, end_all, marked

__all__ = ["ROOT", "Floor", "Kit", "Orchestra", "Peer", "Work"]

ROOT = Path(__file__).resolve().parents[1]
_MARK = "COMPARISON_FOLDER"  # no name that any of the peers would read
_LEAVE_TIME = 15.0  # seconds for a supervisor to be gone after it was told to go


@dataclass(frozen=True, slots=True)
class Kit:
    """A supervisor as it was installed: what it calls its version, and what its commands need to run."""

    version: str
    path: str = ""
    env: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Work:
    """What a supervisor has to run.

    Attributes:
        folder: Of its configuration and all else; its path is the mark of every process.
        services: How many.
        programs: The service and the floor.
        socket: Where a service says that it runs.
        size: Bytes that a service writes when it is told to.
        patience: Seconds for any one command.
    """

    folder: Path
    services: int
    programs: Programs
    socket: Path
    size: int
    patience: float

    def argv(self, number: int) -> list[str]:
        """Return the command of a service."""
        return [*self.programs.service, str(self.socket), str(number), str(self.size)]

    def name(self, number: int) -> str:
        """Return the name of a service."""
        return f"svc{number:04}"

    def is_service(self, words: list[str]) -> bool:
        """True for the command line of a service, whoever started it."""
        return words[: len(self.programs.service)] == self.programs.service


class Peer(ABC):
    """A supervisor in a folder of its own; has to be told to `end`, whatever happens.

    Args:
        kit: As `install` returned it.
        work: What it has to run.
    """

    name: ClassVar[str]
    """As the tables have it."""
    is_logging: ClassVar[bool] = True
    """False where nothing stands between a service and its log."""

    def __init__(self, kit: Kit, work: Work) -> None:
        self.kit = kit
        self.work = work
        self.folder = work.folder
        self._process: subprocess.Popen[bytes] | None = None
        env = {key: os.environ[key] for key in ("LANG", "TMPDIR") if key in os.environ}
        path = os.pathsep.join(filter(None, [kit.path, os.environ["PATH"]]))
        self.env = env | {"PATH": path, "HOME": str(self.folder), _MARK: f"{self.folder}/"} | kit.env

    @classmethod
    @abstractmethod
    def install(cls, cache: Path) -> Kit:
        """Have it in a folder that is kept.

        Raises:
            NotTried: It cannot be had.
        """

    @abstractmethod
    def configure(self) -> None:
        """Write its configuration."""

    @abstractmethod
    def up(self) -> None:
        """Start it, with all services; may return before they run."""

    @abstractmethod
    def status(self) -> list[str]:
        """Return its command that shows all services."""

    @abstractmethod
    def stop(self) -> None:
        """Tell it to stop all services; may return before they are gone."""

    @abstractmethod
    def leave(self) -> None:
        """Tell it to go."""

    @abstractmethod
    def log(self, number: int) -> Path:
        """Return the log of a service."""

    def run(self, *words: str) -> str:
        """Run a command to its end; return what it said.

        Raises:
            PeerFailed: It failed, or took too long.
        """
        with (self.folder / "said").open("w+b") as said:  # a daemon that it leaves would hold a pipe open
            process = self._popen(list(words), said.fileno())
            try:
                status = _end_of(process, self.work.patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise PeerFailed(f"`{_shown(words)}` takes over {self.work.patience:g} s") from None
            said.seek(0)
            text = said.read().decode(errors="replace")
        if status:
            raise PeerFailed(f"`{_shown(words)}` ended with {status}: {text.strip()[-300:]}")
        return text

    def start(self, *words: str) -> None:
        """Start what stays in the foreground."""
        with (self.folder / "own.log").open("ab") as said:
            self._process = self._popen(list(words), said.fileno())

    def check(self) -> None:
        """See whether what was started with `start` still runs.

        Raises:
            PeerFailed: It does not.
        """
        if self._process is not None and self._process.poll() is not None:
            said = (self.folder / "own.log").read_text(encoding="utf-8", errors="replace")
            raise PeerFailed(f"it ended with {self._process.returncode}: {said.strip()[-300:]}")

    def signal(self, number: int) -> None:
        """Signal what was started with `start`."""
        assert self._process is not None, "it was started"
        self._process.send_signal(number)

    def end(self) -> str:
        """End it and all of its services: by its own command, then by pid.

        Returns:
            What was wrong with that; empty where nothing was.

        Raises:
            StillAlive: Some of it is.
        """
        fault = ""
        try:
            if marked(f"{self.folder}/"):
                self.leave()
        except (PeerFailed, OSError) as error:
            fault = str(error)
        self.await_(lambda: not marked(f"{self.folder}/"), 1.0 if fault else _LEAVE_TIME)
        left = end_all(f"{self.folder}/", self.work.is_service)
        if self._process is not None:
            self._process.wait(5)
        return fault or (f"{left} processes were left when it had been told to go" if left else "")

    def await_(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so; return whether it is. Our own process is reaped meanwhile."""
        end = time.monotonic() + seconds
        while not (found := is_so()) and time.monotonic() < end:
            if self._process is not None:
                self._process.poll()
            time.sleep(0.05)
        return found

    def own_processes(self) -> list[int]:
        """Return the processes of the supervisor: all that it has but the services."""
        found = marked(f"{self.folder}/")
        return [pid for pid, words in found.items() if not self.work.is_service(words)]

    def _popen(self, words: list[str], out: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is ours: it is told to go
        )


def _end_of(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Wait for a process as its `wait` does, which with a limit looks after 32, 64, 114 ms and so on.

    Raises:
        subprocess.TimeoutExpired: It goes on.
    """
    pidfd = os.pidfd_open(process.pid)  # it is ours and not reaped: its number is its own
    try:
        if not select.select([pidfd], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired(process.args, seconds)
    finally:
        os.close(pidfd)
    return process.wait()


def _shown(words: tuple[str, ...]) -> str:
    text = " ".join([Path(words[0]).name, *words[1:]])
    return text if len(text) < 80 else f"{text[:77]}..."


class Orchestra(Peer):
    """This supervisor, from this checkout."""

    name = "orchestra"
    log_options: ClassVar[Mapping[str, object]] = {"max_bytes": 0}
    """Of every service."""

    @classmethod
    def install(cls, cache: Path) -> Kit:  # noqa: ARG003
        return Kit(version_of("orchestra-supervisor"), env={"PYTHONPATH": str(ROOT)})

    def configure(self) -> None:
        restart = {"policy": "always", "max_restarts": "unlimited", "stable_after": 1.0}
        shared = {"restart": restart, "log": self.log_options}
        services = {
            self.work.name(number): {"command": self.work.argv(number), **shared, **self.extra(number)}
            for number in range(self.work.services)
        }
        (self.folder / "orchestra.json").write_text(json.dumps({"services": services}), encoding="utf-8")

    def up(self) -> None:
        self.run(*self._argv("up", "--detach"))

    def status(self) -> list[str]:
        return self._argv("status")

    def stop(self) -> None:
        self.run(*self._argv("stop", "all"))

    def leave(self) -> None:
        self.run(*self._argv("down"))

    def log(self, number: int) -> Path:
        return self.folder / ".orchestra" / "logs" / f"{self.work.name(number)}.log"

    def extra(self, number: int) -> dict[str, object]:  # noqa: ARG002
        """Return further keys of a service."""
        return {}

    def _argv(self, *words: str) -> list[str]:
        home = str(self.folder / ".orchestra")
        return [sys.executable, "-P", "-m", "orchestra_supervisor", "--home", home, *words]


class Floor(Peer):
    """The least that it can take: a C program that forks and executes, waits, and does so again.

    Services write to their logs themselves; its `status` is an interpreter that starts and ends.
    """

    name = "floor"
    is_logging = False

    @classmethod
    def install(cls, cache: Path) -> Kit:  # noqa: ARG003
        return Kit("fork and exec")

    def configure(self) -> None:
        (self.folder / "logs").mkdir()

    def up(self) -> None:
        *program, first, _, size = self.work.argv(0)
        count, logs = str(self.work.services), str(self.folder / "logs")
        self.start(*self.work.programs.floor, count, logs, *program, first, size)

    def status(self) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", "pass"]

    def stop(self) -> None:
        self.signal(signal.SIGTERM)

    def leave(self) -> None:
        self.signal(signal.SIGTERM)

    def log(self, number: int) -> Path:
        return self.folder / "logs" / f"{number}.log"
