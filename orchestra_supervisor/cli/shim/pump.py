"""The pump's I/O: standard input and output on one side, the gateway's socket on the other, one poll.

Nothing is read from a side while the other one is behind by more than a bound, and nothing is written to one
that has no room, so neither can block the pump.
"""

import os
import select
import signal
import socket
import time
from contextlib import suppress

from orchestra_supervisor.cli.shim.relay import Relay

__all__ = ["MAX_LINE", "ClientSide", "GatewaySide", "LineBuffer", "Signals", "Watch", "say"]

MAX_LINE = 32 * 1024 * 1024
"""Bytes of one message; a longer one is left out."""

_CHUNK = 65_536  # bytes that are read at once
_ROOM = 4_096  # bytes that fit wherever poll says that there is room: PIPE_BUF of Linux; less than a socket's


def say(text: str) -> None:
    """Write a line to stderr, which clients keep as the server's log; without stderr to nobody."""
    with suppress(OSError):
        os.write(2, f"orchestra mcp: {text}\n".encode("utf-8", "backslashreplace"))


class LineBuffer:
    """Bytes that come in pieces, given on as lines."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._looked = 0
        self._is_skipping = False
        self.skipped = 0
        """Lines that were too long."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now, without their ends and without blank ones."""
        self._rest += data
        if self._rest.find(b"\n", self._looked) < 0:
            self._looked = len(self._rest)
            if self._looked > MAX_LINE:
                self._rest.clear()
                self.skipped += not self._is_skipping
                self._looked, self._is_skipping = 0, True
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest, self._looked = rest, len(rest)
        if self._is_skipping:
            lines, self._is_skipping = lines[1:], False
        return [bytes(line) for line in map(bytes.strip, map(bytes, lines)) if line]

    def take(self) -> bytes:
        """Return what has come of a line that never ended, and forget it."""
        rest = b"" if self._is_skipping else bytes(self._rest)
        self.__init__()
        return rest.strip()


class Watch:
    """What poll is to look for, as it changes from turn to turn."""

    READ = select.POLLIN

    def __init__(self) -> None:
        self._poll = select.poll()
        self._masks: dict[int, int] = {}

    def set(self, descriptor: int, mask: int | None) -> None:
        """Look for these events from now on; None: for none, not even for errors."""
        if self._masks.get(descriptor) == mask:
            return
        if mask is None:
            del self._masks[descriptor]
            self._poll.unregister(descriptor)
        else:
            self._masks[descriptor] = mask
            self._poll.register(descriptor, mask)

    def wait(self, seconds: float | None) -> dict[int, int]:
        """Return events by descriptor."""
        limit = None if seconds is None else max(0, round(seconds * 1000 + 0.5))
        return dict(self._poll.poll(limit))


class ClientSide:
    """Standard input and output.

    Args:
        relay: Takes the lines, and has those that are to be written.
    """

    BEHIND = 1024 * 1024
    """Bytes that wait for the client before the gateway is read no further."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._lines = LineBuffer()
        self._out = bytearray()
        self._is_amid = False
        self.is_ended = False
        """The client says no more."""
        self.is_gone = False
        """Nobody reads what we write."""

    def is_behind(self) -> bool:
        """Tell whether much waits for the client."""
        return len(self._out) > self.BEHIND

    def is_told(self) -> bool:
        """Tell whether the client has all that there is for it."""
        return not self._out and not self._relay.to_client

    def watch(self, watch: Watch, *, is_read: bool) -> None:
        """Say what to wait for."""
        watch.set(0, select.POLLIN if is_read and not self.is_ended else None)
        self._collect()
        watch.set(1, select.POLLOUT if self._out else 0)

    def handle(self, of_input: int, of_output: int) -> None:
        """Do what events ask for."""
        if of_output & ~select.POLLOUT:
            self.is_gone = True
            return
        if of_output:
            self.write()
        if of_input:
            self.read()

    def read(self) -> None:
        """Take what the client says."""
        try:
            data = os.read(0, _CHUNK)
        except OSError:
            data = b""
        lines = self._lines.feed(data)
        for _ in range(self._lines.skipped):
            self._relay.too_long()
        self._lines.skipped = 0
        if not data:
            self.is_ended = True
            rest = self._lines.take()
            lines = (
                [rest] if rest.endswith((b"}", b"]")) else []
            )  # `printf '{...}'`; half a line goes nowhere
        now = time.monotonic()
        for line in lines:
            self._relay.from_client(line, now)

    def write(self) -> None:
        """Write as much as never blocks."""
        self._collect()
        try:
            sent = os.write(1, memoryview(self._out)[:_ROOM])
        except OSError:
            self.is_gone = True
            return
        self._is_amid = self._out[sent - 1] != 0x0A
        del self._out[:sent]

    def finish_line(self, seconds: float) -> None:
        """Write the rest of a line that is half written, then no more."""
        end = self._out.find(b"\n") + 1 if self._is_amid else 0
        del self._out[end:]
        watch, until = Watch(), time.monotonic() + seconds
        watch.set(1, select.POLLOUT)
        while self._out and not self.is_gone and time.monotonic() < until:
            if watch.wait(until - time.monotonic()):
                self.write()

    def _collect(self) -> None:
        while self._relay.to_client and not self.is_behind():
            self._out += self._relay.to_client.popleft()


class GatewaySide:
    """One connection to the gateway.

    Args:
        connection: Connected.
        relay: Takes the lines, and has those that are to be sent.
    """

    def __init__(self, connection: socket.socket, relay: Relay) -> None:
        connection.setblocking(False)  # noqa: FBT003 - positional only
        self._connection = connection
        self._relay = relay
        self._lines = LineBuffer()
        self._sent = 0
        self.is_lost = False

    @property
    def descriptor(self) -> int:
        """Return what to poll."""
        return self._connection.fileno()

    def watch(self, watch: Watch, *, is_read: bool) -> None:
        """Say what to wait for."""
        has_line = self._relay.next_line() is not None
        watch.set(self.descriptor, (select.POLLIN if is_read else 0) | (select.POLLOUT if has_line else 0))

    def handle(self, events: int) -> None:
        """Do what events ask for."""
        if events & ~select.POLLOUT:
            self.read()
        if events & select.POLLOUT and not self.is_lost:
            self.write()

    def read(self) -> None:
        """Take what the gateway says."""
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.is_lost = not data
        for line in self._lines.feed(data):
            self._relay.from_gateway(line)

    def write(self) -> None:
        """Send what there is room for."""
        while (line := self._relay.next_line()) is not None:
            try:
                self._sent += self._connection.send(memoryview(line)[self._sent :])
            except BlockingIOError:
                return
            except OSError:
                self._read_all()
                return
            if self._sent == len(line):
                self._sent = 0
                self._relay.line_sent()

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def _read_all(self) -> None:
        """Take what a gateway that is gone said before: its answers count, and so do its reasons."""
        while not self.is_lost:
            try:
                data = self._connection.recv(_CHUNK)
            except OSError:
                data = b""
            self.is_lost = not data
            for line in self._lines.feed(data):
                self._relay.from_gateway(line)


class Signals:
    """SIGTERM and SIGINT as something to poll for, and the end of a child as a reason to look.

    Attributes:
        descriptor: Becomes readable when one has come.
        stopped_by: The signal that asked us to end, or 0.
    """

    def __init__(self) -> None:
        self.descriptor, writing = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(writing, False)
        self.stopped_by = 0
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, self._look)

    def read(self) -> None:
        """Empty the pipe."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, 512)

    def _look(self, number: int, _frame: object) -> None:
        pass  # that it came is all

    def _stop(self, number: int, _frame: object) -> None:
        self.stopped_by = number
