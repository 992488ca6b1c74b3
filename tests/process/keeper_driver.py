"""Boots a real keeper and plays the daemon and the logger to it, over the real sockets.

The keeper starts a relay in place of each. A relay connects to the test and passes the socket that
the keeper handed it, then waits to be killed: the test speaks on that socket, and the relay's death
is the death of the daemon or the logger.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self, cast

from orchestra_supervisor.keeper import __file__ as keeper_package
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import VERSION, Message

__all__ = [
    "DEADLINE",
    "KEEPER_MAIN",
    "Keeper",
    "Peer",
    "is_alive",
    "spawn_message",
    "start_ticks",
    "wait_until",
]

DEADLINE = 10.0
"""Seconds after which a wait fails the test."""

_SNAPSHOT = ("run", "slot_note", "sockets", "snapshot_end")

KEEPER_MAIN = str(Path(keeper_package).with_name("__main__.py"))

_RELAY = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as there:
    there.connect(sys.argv[1])
    fd = int(os.environ["ORCHESTRA_KEEPER_FD"])
    socket.send_fds(there, [b"x"], [fd])
    os.close(fd)
    there.recv(1)
    there.recv(1)
"""


def wait_until(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Poll a condition, and fail with `what` after `deadline` seconds."""
    end = time.monotonic() + deadline
    pause = 0.001
    while not condition():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        select.select([], [], [], pause)
        pause = min(0.02, pause * 2)


def is_alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def start_ticks(pid: int) -> int:
    """Return the start time of a process as the kernel counts it."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])


class Peer:
    """The daemon's or the logger's end of one connection."""

    def __init__(self, sock: socket.socket, relay: socket.socket, pid: int) -> None:
        self.channel = Channel(sock)
        self.pid = pid
        self._relay = relay
        self.inbox: list[tuple[Message, list[int]]] = []
        self.frames = 0
        """Messages that have come, as they were sent."""
        self._id = 0

    def send(self, message: Message) -> None:
        """Send a message as it is."""
        self.channel.send(message)
        while self.channel.wants_write:
            select.select([self.channel], [self.channel], [], DEADLINE)
            self._read(0)
            self.channel.on_writable()

    def request(self, message: Message, deadline: float = DEADLINE) -> Message:
        """Send a message with a new id and return its reply; other messages stay in the inbox."""
        self._id += 1
        number = self._id
        self.send({**message, "id": number})
        return self.expect(lambda m: m.get("re") == number, f"the reply to {message['type']}", deadline)[0]

    def expect(
        self, match: Callable[[Message], bool], what: str, deadline: float = DEADLINE
    ) -> tuple[Message, list[int]]:
        """Return the first message that matches, read or yet to come; others stay."""
        end = time.monotonic() + deadline
        while True:
            for index, (message, _) in enumerate(self.inbox):
                if match(message):
                    return self.inbox.pop(index)
            left = end - time.monotonic()
            assert left > 0, f"not within {deadline} s: {what}; there were {[m for m, _ in self.inbox]}"
            self._read(left)

    def event(self, kind: str, /, deadline: float = DEADLINE, **facts: object) -> Message:
        """Return the first message of a type whose keys have the given values."""

        def match(message: Message) -> bool:
            return message["type"] == kind and all(message.get(key) == value for key, value in facts.items())

        return self.expect(match, f"{kind} {facts}", deadline)[0]

    def hello(self) -> tuple[Message, list[Message]]:
        """Say hello; return the welcome and the messages of the snapshot."""
        welcome = self.request({"type": "hello", "version": VERSION, "pid": self.pid})
        assert welcome["type"] == "welcome", welcome
        snapshot: list[Message] = []
        while True:
            message, _ = self.expect(lambda m: m["type"] in _SNAPSHOT, "the snapshot")
            if message["type"] == "snapshot_end":
                return welcome, snapshot
            snapshot.append(message)

    def sync(self) -> None:
        """Wait until the keeper has handled all that was sent before."""
        assert self.request({"type": "ping"})["type"] == "pong"

    def is_closed(self, deadline: float = DEADLINE) -> bool:
        """True once the keeper closed the connection, waiting up to `deadline` seconds."""
        end = time.monotonic() + deadline
        try:
            while time.monotonic() < end:
                self._read(end - time.monotonic())
        except ChannelClosed:
            return True
        return False

    def kill(self) -> None:
        """End the process behind the connection at once, as SIGKILL does, and the connection with it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # the keeper's child; only we decide when it ends
        self.close()

    def close(self) -> None:
        """Close this end; the relay ends by itself when the keeper does not end it first."""
        for _, fds in self.inbox:
            for fd in fds:
                os.close(fd)
        self.inbox.clear()
        self.channel.close()
        self._relay.close()

    def _read(self, timeout: float) -> None:
        if select.select([self.channel], [], [], max(0.0, timeout))[0]:
            for message, fds in self.channel.on_readable():
                self.frames += 1
                self.inbox += _one_by_one(message, fds)


def _one_by_one(message: Message, fds: list[int]) -> Iterator[tuple[Message, list[int]]]:
    """Yield a message as it is, but pipes that are handed over together each as one of its own."""
    pipes = message.get("pipes")
    if not isinstance(pipes, list):
        yield message, fds
        return
    rest = {key: value for key, value in message.items() if key != "pipes"}
    for pipe, fd in zip(cast("list[Message]", pipes), fds, strict=True):
        yield {**rest, **pipe}, [fd]


class Keeper:
    """A keeper under test; use as a context manager, which leaves no process behind.

    Args:
        home: A directory of the test.
        daemon: Command line in place of the relay.
        logger: Likewise.
        lock_fd: Passed on.
        prefix: Words put before the command line, e.g. `unshare --pid --fork --mount-proc`.
        daemon_prefix: Words put before the relay that stands for the daemon.
        logger_prefix: Likewise for the logger.
        python: Interpreter of keeper and relays.
        patience: Factor on the keeper's own waits.
        cgroups: Control groups to divide; None: use none, whatever is delegated to the test.
        mark: Names the home in theirs.
        pass_fds: Descriptors that the first process gets.
        env: Further variables of the keeper's environment.
    """

    def __init__(
        self,
        home: Path,
        *,
        daemon: list[str] | None = None,
        logger: list[str] | None = None,
        lock_fd: int | None = None,
        prefix: list[str] | None = None,
        daemon_prefix: list[str] | None = None,
        logger_prefix: list[str] | None = None,
        python: str = sys.executable,
        patience: float = 1.0,
        cgroups: list[str] | None = None,
        mark: str = "test",
        pass_fds: list[int] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self._python = python
        self.home = home
        self._peers: list[Peer] = []
        self._doors: dict[str, socket.socket] = {}
        self.stderr_path = home / "keeper.err"
        self._stderr = self.stderr_path.open("ab")
        boot = {
            "home": str(home),
            "lock_fd": lock_fd,
            "patience": patience,
            "cgroups": cgroups or [],
            "mark": mark,
            "daemon": daemon or [*(daemon_prefix or []), *self._door("daemon")],
            "logger": logger or [*(logger_prefix or []), *self._door("logger")],
        }
        self.process = subprocess.Popen(
            [*(prefix or []), python, "-I", "-S", KEEPER_MAIN, json.dumps(boot)],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            pass_fds=[*(pass_fds or []), *([lock_fd] if lock_fd is not None else [])],
            env=os.environ | (env or {}),
        )
        self.pid = self.process.pid

    def daemon(self, deadline: float = DEADLINE) -> Peer:
        """Return the next daemon that the keeper starts, before its hello."""
        return self._accept("daemon", deadline)

    def greeted_daemon(self, deadline: float = DEADLINE) -> Peer:
        """Return the next daemon, after its hello."""
        daemon = self._accept("daemon", deadline)
        daemon.hello()
        return daemon

    def logger(self, deadline: float = DEADLINE) -> Peer:
        """Return the next logger that the keeper starts."""
        return self._accept("logger", deadline)

    def signal(self, number: int) -> None:
        """Signal the keeper."""
        self.process.send_signal(number)

    def wait(self, deadline: float = DEADLINE) -> int:
        """Wait for the keeper's end and return its exit status."""
        return self.process.wait(deadline)

    def stderr(self) -> str:
        """Return what the keeper has said so far."""
        return self.stderr_path.read_text(encoding="utf-8")

    def says(self, text: str, deadline: float = DEADLINE) -> None:
        """Wait until the keeper has said something."""
        wait_until(
            lambda: text in self.stderr(), f"the keeper says {text!r}, not {self.stderr()!r}", deadline
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descendants = _descendants(self.pid) if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
        for pid, ticks in descendants:  # ours by ancestry; a number that was reused is left alone
            with suppress(OSError):
                if start_ticks(pid) == ticks:
                    os.kill(pid, signal.SIGKILL)
        for peer in self._peers:
            peer.close()
        for door in self._doors.values():
            door.close()
        self._stderr.close()

    def _door(self, role: str) -> list[str]:
        # Abstract names have no length trouble with deep tmp_path, and leave no file.
        name = f"\0orchestra-test-{uuid.uuid4().hex}"
        door = socket.socket(socket.AF_UNIX)
        door.bind(name)
        door.listen()
        self._doors[role] = door
        code = _RELAY.replace("sys.argv[1]", repr(name))
        return [self._python, "-I", "-S", "-c", code]

    def _accept(self, role: str, deadline: float) -> Peer:
        door = self._doors[role]
        wait_until(
            lambda: bool(select.select([door], [], [], 0.05)[0]) or self.process.poll() is not None,
            f"a {role} is started",
            deadline,
        )
        assert self.process.poll() is None, f"the keeper ended: {self.stderr()}"
        relay, _ = door.accept()
        relay.settimeout(deadline)
        _, fds, _, _ = socket.recv_fds(relay, 32, 1)
        credentials = relay.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid = int.from_bytes(credentials[:4], sys.byteorder)  # as we number it, whatever its pid namespace
        sock = socket.socket(fileno=fds[0])
        relay.send(b"k")  # got it
        peer = Peer(sock, relay, pid)
        self._peers.append(peer)
        return peer


def _descendants(pid: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="utf-8").split():
                with suppress(OSError):
                    found.append((int(child), start_ticks(int(child))))
                found += _descendants(int(child))
    return found


def spawn_message(run: str, *argv: str, slot: str | None = None, **extra: object) -> Message:
    """Return a spawn of `argv` with an environment in which commands are found."""
    return {
        "type": "spawn",
        "run": run,
        "slot": slot or run.rpartition("-")[0] or run,
        "argv": list(argv),
        "cwd": "/",
        "env": {"PATH": os.environ["PATH"]},
        "log": None,
        "stop": {"steps": [["SIGTERM", 5.0]], "scope": "group"},
        "stop_order": 0,
        **extra,
    }
