"""Rotated segments are packed in a child of low priority, one at a time.

The child holds a lock on the segment itself until it has removed it, so that the child of a killed
logger and that of its successor never work on the same segment; a temporary file that was left is begun
anew.
"""

import fcntl
import os
import selectors
import signal
import sys
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from orchestra_supervisor.journald import WARNING, with_priority
from orchestra_supervisor.logfile.segments import GZIP_SUFFIX, TEMP_SUFFIX

__all__ = ["Packer", "pack"]

_BLOCK = 1024 * 1024
_LEVEL = 6
_GZIP_WINDOW = 31  # zlib's word for: 32 KiB window, with gzip header and trailer
_NICE = 19
_MODE = 0o640
_MAX_FD = 1 << 20


class Packer:
    """Packs segments, each in its own child.

    Args:
        selector: Where the end of the child is waited for; the key's data is `on_child`.
        on_idle: Called when all that was added has been packed.
    """

    def __init__(self, selector: selectors.BaseSelector, on_idle: Callable[[], None] | None = None) -> None:
        self._selector = selector
        self._on_idle = on_idle
        self._queue: deque[str] = deque()
        self._child = 0
        self._pipe = -1

    @property
    def is_busy(self) -> bool:
        """True while segments are being packed or wait for it."""
        return bool(self._child or self._queue)

    def add(self, path: str) -> None:
        """Have a segment packed, after those that were added before."""
        if path not in self._queue:
            self._queue.append(path)
        self._start()

    def forget(self, path: str) -> None:
        """Do not pack a segment that is being deleted; a child that does already will notice."""
        with suppress(ValueError):
            self._queue.remove(path)

    def stop(self) -> None:
        """End the child; what it was at is done again when the log is next opened."""
        self._queue.clear()
        if self._child:
            os.kill(self._child, signal.SIGKILL)  # our own child, not yet waited for
            self.on_child()

    def on_child(self) -> None:
        """The child has ended, or is about to: reap it and start the next."""
        self._selector.unregister(self._pipe)
        os.close(self._pipe)
        os.waitpid(self._child, 0)
        self._child, self._pipe = 0, -1
        self._start()
        if self._on_idle is not None and not self.is_busy:
            self._on_idle()

    def _start(self) -> None:
        if self._child or not self._queue:
            return
        try:
            readable, writable = os.pipe()
        except OSError:
            return  # no descriptor free: tried again with the next segment
        path = self._queue.popleft()
        try:
            child = os.fork()
        except OSError as error:
            os.close(readable)
            os.close(writable)
            _complain(path, error)
            return
        if child == 0:
            _child(path, writable)
        os.close(writable)
        self._child, self._pipe = child, readable
        self._selector.register(readable, selectors.EVENT_READ, self.on_child)


def _child(path: str, writable: int) -> None:
    """Pack and end, whatever happens; `writable` tells the parent by its closing."""
    code = 1
    try:
        os.closerange(3, writable)  # the parent's sockets and locks would outlive it in here
        os.closerange(writable + 1, _MAX_FD)
        os.nice(_NICE)
        pack(path)
        code = 0
    except OSError as error:
        _complain(path, error)
    finally:
        os._exit(code)


def pack(path: str) -> None:
    """Replace a segment by its gzip file. Does nothing when another process is at it.

    Killed at any instant, it leaves the segment, or its pack, or both with the same contents.

    Raises:
        OSError: It could not be read or written. The segment is as it was.
    """
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(source).st_nlink:  # else the one who held it has packed and removed it
            _pack_locked(path, source)
    except BlockingIOError:
        return
    finally:
        os.close(source)


def _pack_locked(path: str, source: int) -> None:
    """Pack a segment that no other packer touches, temporary file and pack included."""
    temp = path + TEMP_SUFFIX
    target = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    try:
        _deflate(source, target)
        os.rename(temp, path + GZIP_SUFFIX)
    except OSError:
        with suppress(OSError):
            os.unlink(temp)
        raise
    finally:
        os.close(target)
    try:
        os.unlink(path)
    except FileNotFoundError:  # deleted meanwhile, as too old: so must be the pack
        os.unlink(path + GZIP_SUFFIX)


def _deflate(source: int, target: int) -> None:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    with open(target, "wb", closefd=False) as packed:
        while block := os.read(source, _BLOCK):
            packed.write(packer.compress(block))
        packed.write(packer.flush())
        packed.flush()
        status = os.fstat(source)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _complain(path: str, error: OSError) -> None:
    text = with_priority(f"orchestra logger: cannot pack {path}: {error.strerror or error}", WARNING)
    print(text, file=sys.stderr)  # noqa: T201  # stderr is the log
