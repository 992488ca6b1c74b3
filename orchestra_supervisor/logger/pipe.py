"""The read end of one stream of one run, and looking into it without taking anything out."""

import fcntl
import os
import select
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from orchestra_supervisor.logger.redaction import NOTHING, Redactor

__all__ = ["WINDOW", "Peeker", "Pipe"]

WINDOW = 64 * 1024
"""Bytes that are looked at in one turn: what a pipe holds."""

_SCRATCH = 1024 * 1024  # bytes; a pipe of many small writes needs as many slots in its copy
_SPLICE_F_NONBLOCK = 2
_nowhere = bytearray(WINDOW)


@dataclass(slots=True, eq=False)
class Pipe:
    """The read end of one stream of one run.

    Attributes:
        fd: The descriptor; -1 once closed.
        run: Run id.
        slot: Whose run it is: a service's name.
        number: The run as the index writes it.
        stream: `stdout` or `stderr`.
        code: The stream as the index writes it.
        secrets: Values that must not be written; known in memory alone.
        redactor: What is replaced in its lines.
        held: Bytes read but not written, where the kernel can neither move nor copy them.
        is_watched: The selector waits for it.
        unfinished_since: When its present line without an end was first seen (monotonic); 0: none is.
        pause: Seconds after which such a line is looked at again.
    """

    fd: int
    run: str
    slot: str
    number: int
    stream: str
    code: int
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    redactor: Redactor = NOTHING
    held: bytes = b""
    is_watched: bool = False
    unfinished_since: float = 0.0
    pause: float = 0.0

    def waiting(self) -> int:
        """Return how many bytes are in the pipe."""
        return struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, struct.pack("i", 0)))[0]

    def is_closed_by_writers(self) -> bool:
        """Return whether nobody is left who could write into it."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return any(mask & select.POLLHUP for _, mask in poll.poll(0))


class Peeker:
    """Looks at what pipes hold, and takes it out when it has been dealt with.

    tee(2) copies inside the kernel, so that a logger killed in between has taken nothing. Where there is
    no tee, bytes are read and held in the pipe's `held`: a kill loses those.
    """

    def __init__(self) -> None:
        self._tee: Callable[[int, int, int, int], int] | None = None
        self._has_looked = False
        self._scratch = (-1, -1)

    def peek(self, pipe: Pipe) -> bytes:
        """Return what a pipe holds, up to `WINDOW` bytes, without taking it; empty at its end.

        Raises:
            BlockingIOError: It is empty, and may be written to.
            OSError: There is no descriptor left.
        """
        if not self._has_looked:
            self._tee, self._has_looked = _load_tee(), True
        if self._tee is None or pipe.held:
            return self._read(pipe)
        if self._scratch[0] < 0:
            self._scratch = _scratch_pipe()
        try:
            size = self._tee(pipe.fd, self._scratch[1], WINDOW, _SPLICE_F_NONBLOCK)
        except BlockingIOError:
            raise
        except OSError:  # no such call on this kernel
            self._tee = None
            return self._read(pipe)
        return os.read(self._scratch[0], size) if size else b""

    def take(self, pipe: Pipe, size: int) -> None:
        """Take out the first bytes of what was seen last."""
        if pipe.held:
            pipe.held = pipe.held[size:]
            return
        with suppress(BlockingIOError):
            while size > 0 and (gone := os.readv(pipe.fd, [memoryview(_nowhere)[:size]])):
                size -= gone

    def close(self) -> None:
        """Let go of what it copies with."""
        for fd in self._scratch:
            if fd >= 0:
                os.close(fd)
        self._scratch = (-1, -1)

    @staticmethod
    def _read(pipe: Pipe) -> bytes:
        room = WINDOW - len(pipe.held)
        try:
            pipe.held += os.read(pipe.fd, room) if room else b""
        except BlockingIOError:
            if not pipe.held:
                raise
        return pipe.held


def _scratch_pipe() -> tuple[int, int]:
    ends = os.pipe()
    with suppress(OSError):  # the usual size does for pipes of the usual size
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _SCRATCH)
    return ends


def _load_tee() -> Callable[[int, int, int, int], int] | None:
    """Return the system's tee, which `os` does not have; None where there is none.

    It is loaded for logs whose lines are looked at: most are not, and are copied without it.
    """
    try:
        import ctypes  # noqa: PLC0415
    except ImportError:  # an interpreter built without libffi: pipes are read, not looked into
        return None
    try:
        tee = ctypes.CDLL(None, use_errno=True).tee
    except (OSError, AttributeError):
        return None
    tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
    tee.restype = ctypes.c_ssize_t

    def checked(source: int, target: int, size: int, flags: int) -> int:
        done = int(tee(source, target, size, flags))
        if done < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return done

    return checked
