"""A non-blocking framed Unix socket that passes descriptors, for processes that run a selector.

The caller waits for readiness and calls `on_readable` and `on_writable`; nothing here ever
blocks. What cannot be sent at once waits in a bounded queue. A connection that ended, broke the
protocol or does not read is reported by `ChannelClosed`. What a peer sent before it ended can
still be read when writing to it has failed.
"""

import array
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NoReturn

from orchestra_supervisor.wire.frames import MAX_FDS, FrameDecoder, Message, WireError, encode_frame

__all__ = [
    "FD_VARIABLE",
    "SEND_LIMIT",
    "STDIO_VARIABLE",
    "Channel",
    "ChannelClosed",
    "inherited_socket",
]

FD_VARIABLE = "ORCHESTRA_KEEPER_FD"
"""Environment variable that tells the daemon and the logger the number of their socket."""

STDIO_VARIABLE = "ORCHESTRA_STDIO_FD"
"""Environment variable that tells a run the number of its channel, on which it gets the pipes of servers."""

SEND_LIMIT = 64 * 1024 * 1024
"""Bytes that may wait for a peer; one that lets more pile up does not read and counts as dead."""

_READ_SIZE = 64 * 1024  # above 128 KiB malloc maps and unmaps memory for each read
_GATHER = 64  # buffers in one sendmsg; IOV_MAX is 1024, more than this gains nothing
_INT_SIZE = array.array("i").itemsize
_ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_FDS * _INT_SIZE)
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)
_RECV_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class ChannelClosed(Exception):
    """The connection is of no more use; the text says why."""


class Channel:
    """One end of a keeper connection.

    Args:
        sock: A connected Unix stream socket. The channel owns it from here on.
        send_limit: Bytes that may wait to be sent.
    """

    def __init__(self, sock: socket.socket, *, send_limit: int = SEND_LIMIT) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._decoder = FrameDecoder()
        self._received_fds: deque[int] = deque()
        self._queue: deque[tuple[memoryview, list[int]]] = deque()
        self._queued = 0
        self.has_later = False
        """Something was sent `later`, and `on_writable` has not been called since."""
        self._send_limit = send_limit
        self._failure = ""
        self._write_failure = ""

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """True while something waits to be sent: call `on_writable` when the socket is writable."""
        return bool(self._queue) and not self._failure and not self._write_failure

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""
        return self._queued

    def send(self, message: Message, fds: Sequence[int] = (), *, later: bool = False) -> None:
        """Send a message, or queue what the socket does not take.

        Args:
            message: A JSON-ready object with a `type`.
            fds: Descriptors to pass. They stay the caller's: a duplicate is made of those that must wait.
            later: Queue all of it; the caller calls `on_writable` when it has said all that it has to say.

        Raises:
            WireError: The message is over a limit. Nothing was sent and the channel is as before.
            ChannelClosed: The peer is gone, or does not read.
            OSError: No descriptor was left for a duplicate. Nothing was sent.
        """
        data = memoryview(encode_frame(message, len(fds)))
        self._check_writing()
        if self._queued + len(data) > self._send_limit:
            self._fail_writing(f"the peer does not read: {self._queued} bytes wait for it")
        self.has_later |= later
        if not self._queue and not later:
            sent = self._transmit([data], fds)
            if sent == len(data):
                return
            if sent:  # the descriptors went with the first byte
                data, fds = data[sent:], ()
        self._queue.append((data, _duplicate(fds)))
        self._queued += len(data)

    def on_writable(self) -> None:
        """Send what waits, as far as the socket takes it.

        Raises:
            ChannelClosed: The peer is gone.
        """
        self.has_later = False
        self._check_writing()
        while self._queue:
            fds = self._queue[0][1]
            buffers = [self._queue[0][0]]
            for data, later_fds in islice(self._queue, 1, _GATHER):
                if later_fds:  # descriptors are told apart by the sendmsg they came with
                    break
                buffers.append(data)
            sent = self._transmit(buffers, fds)
            if not sent:
                return
            self._discard(sent)

    def on_readable(self) -> list[tuple[Message, list[int]]]:
        """Read once and return the messages that are complete, each with its descriptors.

        The descriptors become the caller's, which must close them.

        Raises:
            ChannelClosed: The connection ended or broke the protocol. Messages that came before
                were returned by earlier calls.
        """
        self._check()
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(_READ_SIZE, _ANCILLARY_SIZE, _RECV_FLAGS)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            self._fail(f"read failed: {error.strerror}")
        self._take_fds(ancillary)
        if not data:
            unfinished = f" in the middle of a frame ({self._decoder.pending} bytes)"
            self._fail("the peer closed the connection" + (unfinished if self._decoder.pending else ""))
        messages: list[tuple[Message, list[int]]] = []
        try:
            if flags & socket.MSG_CTRUNC:
                raise WireError("descriptors were lost on the way: too many, or none free here")
            for message, count in self._decoder.feed(data):
                if count > len(self._received_fds):
                    raise WireError(f"frame says {count} descriptors, {len(self._received_fds)} came")
                messages.append((message, [self._received_fds.popleft() for _ in range(count)]))
            if self._received_fds and not self._decoder.pending:
                raise WireError(f"{len(self._received_fds)} descriptors came that no frame speaks of")
        except WireError as error:
            self._fail_after(messages, str(error))
        return messages

    def close(self) -> None:
        """Close the socket and every descriptor that nobody took. May be called twice."""
        for fd in self._received_fds:
            os.close(fd)
        self._received_fds.clear()
        for _, fds in self._queue:
            for fd in fds:
                os.close(fd)
        self._queue.clear()
        self._queued = 0
        self._failure = self._failure or "closed here"
        self._sock.close()

    def _transmit(self, buffers: Sequence[memoryview], fds: Sequence[int]) -> int:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            return self._sock.sendmsg(buffers, ancillary, _SEND_FLAGS)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._fail_writing(f"write failed: {error.strerror}")

    def _discard(self, sent: int) -> None:
        """Drop `sent` bytes from the head of the queue, with the descriptors that went along."""
        self._queued -= sent
        while self._queue:
            data, fds = self._queue.popleft()
            for fd in fds:
                os.close(fd)
            if sent < len(data):
                self._queue.appendleft((data[sent:], []))
                return
            sent -= len(data)
            if not sent:
                return

    def _take_fds(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % _INT_SIZE])
                if not _RECV_FLAGS:
                    for fd in fds:
                        os.set_inheritable(fd, False)  # noqa: FBT003  # os takes it by position only
                self._received_fds.extend(fds)

    def _check(self) -> None:
        if self._failure:
            raise ChannelClosed(self._failure)

    def _check_writing(self) -> None:
        if self._write_failure:
            raise ChannelClosed(self._write_failure)
        self._check()

    def _fail_writing(self, reason: str) -> NoReturn:
        # What the peer had sent before can still be read.
        self._write_failure = reason
        raise ChannelClosed(reason)

    def _fail(self, reason: str) -> NoReturn:
        self._failure = self._failure or reason
        raise ChannelClosed(self._failure)

    def _fail_after(self, messages: list[tuple[Message, list[int]]], reason: str) -> None:
        """Remember the failure; raise it now, or by the next read when complete messages came first."""
        self._failure = reason
        if not messages:
            raise ChannelClosed(reason)
        # The selector must call again although no byte may follow: end of file makes it readable.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)


def inherited_socket(environ: Mapping[str, str], variable: str = FD_VARIABLE) -> socket.socket:
    """Take over a socket that the keeper handed down, and keep it from children.

    Args:
        environ: The environment of this process.
        variable: Which socket: FD_VARIABLE or STDIO_VARIABLE.

    Raises:
        KeyError: The variable is not set: the process was not started by a keeper, or not with such a socket.
        ValueError: It is not a number.
        OSError: The descriptor is not an open socket.
    """
    sock = socket.socket(fileno=int(environ[variable]))
    sock.set_inheritable(False)
    return sock


def _duplicate(fds: Sequence[int]) -> list[int]:
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))  # noqa: PERF401  # what was copied is closed when a later copy fails
    except OSError:
        for copy in copies:
            os.close(copy)
        raise
    return copies
