"""Plays the one who talks to stdio servers: a run with a channel, whose socket the test takes over.

The run connects to the test and passes the socket that the keeper handed it, then waits to be killed: the
test listens on that socket, and the end of the run is the end of the receiver.
"""

import os
import select
import signal
import socket
import sys
import time
import uuid
from contextlib import suppress
from typing import Self

from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message
from tests.process.keeper_driver import DEADLINE, Peer, spawn_message

__all__ = ["ECHO", "Pipes", "Receiver", "python", "read_exactly", "read_line"]

_RELAY = """
import os, socket
with socket.socket(socket.AF_UNIX) as there:
    there.connect(NAME)
    fd = int(os.environ["ORCHESTRA_STDIO_FD"])
    socket.send_fds(there, [b"x"], [fd])
    os.close(fd)
    there.recv(1)
    there.recv(1)
"""

ECHO = """
import os, sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(b"%d %s" % (os.getpid(), line))
    sys.stdout.buffer.flush()
print("its input ended", file=sys.stderr)
os._exit(7)
"""
"""Answers each line with its pid and the line; exits with 7 when its input ends."""

Pipes = tuple[int, int]
"""Write end of a server's stdin, and read end of its stdout."""


def python(script: str) -> list[str]:
    """Return the command line of a script."""
    return [sys.executable, "-I", "-S", "-c", script]


def read_exactly(fd: int, size: int, deadline: float = DEADLINE) -> bytes:
    """Return so many bytes of a pipe; fewer at its end."""
    end = time.monotonic() + deadline
    data = b""
    while len(data) < size:
        left = end - time.monotonic()
        assert left > 0, f"not within {deadline} s: {size} bytes; there was {data!r}"
        if select.select([fd], [], [], left)[0]:
            more = os.read(fd, size - len(data))
            if not more:
                break
            data += more
    return data


def read_line(fd: int) -> bytes:
    """Return the next line of a pipe, read byte by byte so that none of what follows is taken."""
    line = b""
    while not line.endswith(b"\n"):
        byte = read_exactly(fd, 1)
        assert byte, f"end of file after {line!r}"
        line += byte
    return line


class Receiver:
    """A run with a channel; use as a context manager.

    Args:
        daemon: By whom it is started.
        run: Its run id.
        slot: Its slot, where the run id does not tell.
        extra: Further keys of its spawn.
    """

    def __init__(self, daemon: Peer, run: str, *, slot: str | None = None, **extra: object) -> None:
        self.frames: list[tuple[Message, list[int]]] = []
        name = f"\0orchestra-test-{uuid.uuid4().hex}"
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(name)
            door.listen()
            door.settimeout(DEADLINE)
            relay = python(_RELAY.replace("NAME", repr(name)))
            self.spawned = daemon.request(spawn_message(run, *relay, slot=slot, channel=True, **extra))
            assert self.spawned["type"] == "spawned", self.spawned
            self._relay, _ = door.accept()
        self._relay.settimeout(DEADLINE)
        _, fds, _, _ = socket.recv_fds(self._relay, 32, 1)
        self.channel = Channel(socket.socket(fileno=fds[0]))
        self._relay.send(b"k")
        self.pid = int(str(self.spawned["pid"]))

    def next(self, deadline: float = DEADLINE) -> tuple[Message, list[int]]:
        """Return the next frame with its descriptors, which become the caller's."""
        end = time.monotonic() + deadline
        while not self.frames:
            left = end - time.monotonic()
            assert left > 0, f"not within {deadline} s: a frame"
            self.take(left)
        return self.frames.pop(0)

    def snapshot(self) -> dict[str, Pipes]:
        """Return the pipes of all servers, by run, up to the frame `held`."""
        held: dict[str, Pipes] = {}
        while (frame := self.next())[0]["type"] != "held":
            held |= _pipes(frame)
        return held

    def pipes(self, run: str) -> Pipes:
        """Return what the next frame hands over, which is of this run."""
        return _pipes(self.next())[run]

    def take(self, timeout: float) -> None:
        """Read once what is there within so many seconds."""
        if select.select([self.channel], [], [], timeout)[0]:
            self.frames += self.channel.on_readable()

    def is_closed(self, deadline: float = DEADLINE) -> bool:
        """True once the keeper closed the channel, waiting up to `deadline` seconds."""
        end = time.monotonic() + deadline
        try:
            while time.monotonic() < end:
                self.take(end - time.monotonic())
        except ChannelClosed:
            return True
        return False

    def kill(self) -> None:
        """End it at once, as SIGKILL does, and all that it had with it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # the keeper's child, which the keeper reaps
        self.close()

    def close(self) -> None:
        """Close what it has; the run ends by itself."""
        for _, fds in self.frames:
            for fd in fds:
                os.close(fd)
        self.frames.clear()
        self.channel.close()
        self._relay.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pipes(frame: tuple[Message, list[int]]) -> dict[str, Pipes]:
    message, fds = frame
    assert message["type"] == "stdio", message
    stdin, stdout = fds
    return {str(message["run"]): (stdin, stdout)}
