"""Runs a real logger and plays the keeper to it: a socketpair, real pipes, duplicates of the read ends."""

import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from orchestra_supervisor.logfile.lines import LogLine
from orchestra_supervisor.logfile.reader import read_lines
from orchestra_supervisor.logger import __file__ as logger_package
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message

__all__ = [
    "DEADLINE",
    "LOGGER_MAIN",
    "PYTHON",
    "RUN",
    "KeeperStandIn",
    "Stream",
    "all_lines",
    "log_bytes",
    "segment_files",
    "texts",
    "wait_until",
]

DEADLINE = 15.0
"""Seconds after which a wait fails the test."""
RUN = "web-0000000000a1"

PYTHON = (sys.executable, "-I", "-S")
LOGGER_MAIN = str(Path(logger_package).with_name("__main__.py"))


def wait_until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        select.select([], [], [], 0.005)


@dataclass(eq=False)
class Stream:
    """One stream of one run: both ends as the keeper and the service hold them."""

    path: str
    run: str
    name: str
    read_fd: int
    write_fd: int
    options: dict[str, object]
    secrets: tuple[str, ...]
    is_at_eof: bool = False

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.write_fd, view) :]

    def close(self) -> None:
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1


FEW_DESCRIPTORS = """
import os, resource, sys
limit, *command = sys.argv[1:]
os.dup2(int(os.environ["ORCHESTRA_KEEPER_FD"]), 3)
os.closerange(4, 1024)
os.environ["ORCHESTRA_KEEPER_FD"] = "3"
resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
os.execv(command[0], command)
"""
"""The limit is on numbers, not on how many: the one that is handed down has to have a low one."""


class KeeperStandIn:
    def __init__(
        self,
        home: Path,
        *,
        prefix: tuple[str, ...] = (),
        interpreter: tuple[str, ...] = PYTHON,
        nofile: int = 0,
        stdout: int | None = None,
    ) -> None:
        self.home = home
        self._stdout = stdout
        self.streams: list[Stream] = []
        self.events: list[Message] = []
        self._prefix = (*prefix, *interpreter)
        self._nofile = nofile
        self.stderr_path = home / f"logger-{id(self)}.stderr"
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self.streams:
            stream.close()
        self.kill()
        for stream in self.streams:
            if stream.read_fd >= 0:
                os.close(stream.read_fd)
                stream.read_fd = -1

    def start(self) -> None:
        ours, theirs = socket.socketpair()
        command = [*self._prefix, LOGGER_MAIN]
        if self._nofile:
            command = [*PYTHON, "-c", FEW_DESCRIPTORS, str(self._nofile), *command]
        with self.stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                command,
                env={"ORCHESTRA_KEEPER_FD": str(theirs.fileno()), "ORCHESTRA_HOME": str(self.home)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=stderr,
            )
        theirs.close()
        self.channel = Channel(ours)
        for stream in self.streams:
            if not stream.is_at_eof:
                self._send_open(stream)

    def kill(self) -> None:
        """SIGKILL, and forget the connection."""
        self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)

    def restart(self) -> None:
        self.kill()
        self.start()

    def stderr(self) -> str:
        return self.stderr_path.read_text(encoding="utf-8")

    def open(
        self,
        path: Path | str,
        *,
        run: str = RUN,
        stream: str = "stdout",
        secrets: tuple[str, ...] = (),
        **options: object,
    ) -> Stream:
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        made = Stream(str(path), run, stream, read_fd, write_fd, options, secrets)
        self.streams.append(made)
        self._send_open(made)
        return made

    def config(self, path: Path, **options: object) -> None:
        for stream in self.streams:
            if stream.path == str(path):
                stream.options = options
        self.send({"type": "log_config", "path": str(path), "options": options})

    def _send_open(self, stream: Stream) -> None:
        pipe = {"run": stream.run, "slot": "web", "stream": stream.name, "path": stream.path}
        options = {"options": stream.options, "secrets": stream.secrets}
        self.send({"type": "open", "pipes": [pipe], **options}, [stream.read_fd])

    def send(self, message: Message, fds: list[int] | None = None) -> None:
        self.channel.send(message, fds or [])
        while self.channel.wants_write:
            self.pump(0.01)
            self.channel.on_writable()

    def pump(self, seconds: float) -> None:
        """Take what the logger says for so long, or until it says something."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            if not selector.select(seconds):
                return
        for message, _ in self.channel.on_readable():
            if message["type"] == "eof":
                self._on_eof(message)
            else:
                self.events.append(message)

    def _on_eof(self, message: Message) -> None:
        for stream in self.streams:
            if (stream.run, stream.name) == (message["run"], message["stream"]) and not stream.is_at_eof:
                stream.is_at_eof = True
                os.close(stream.read_fd)
                stream.read_fd = -1
                return
        raise AssertionError(f"eof for a stream that is not open: {message}")

    def wait(self, condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, (
                f"not within {deadline} s: {what}; events {self.events}; {self.stderr()}"
            )
            self.pump(0.01)

    def wait_eof(self, *streams: Stream) -> None:
        self.wait(lambda: all(stream.is_at_eof for stream in streams), "eof of every stream")

    def wait_event(self, kind: str, count: int = 1) -> list[Message]:
        self.wait(lambda: len(self.of(kind)) >= count, f"{count} events {kind}")
        return self.of(kind)

    def of(self, kind: str) -> list[Message]:
        return [event for event in self.events if event["kind"] == kind]

    def wait_end(self) -> int:
        """Take all that the logger says until it has ended; return its exit status."""
        end = time.monotonic() + DEADLINE
        try:
            while time.monotonic() < end:
                self.pump(0.05)
        except ChannelClosed:
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))


def texts(path: Path | str, **options: object) -> list[bytes]:
    return [line.data for line in all_lines(path, **options)]


def all_lines(path: Path | str, **options: object) -> list[LogLine]:
    return read_lines(str(path), **{"limit": None, **options})  # type: ignore[arg-type]


def segment_files(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if each.name.startswith(path.name + "."))


def log_bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
