"""Copies of output in files of the user's choice, rotated as supervisord does it: PATH, PATH.1, PATH.2, ...

They are never in the way of the log, which stays the truth: a file that cannot be written is left out,
and told, until it can be. They are appended to byte by byte; others may remove or rename them at any time.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from orchestra_supervisor.logger.drops import Drops
from orchestra_supervisor.logger.timers import Timers

__all__ = ["Copies", "CopyTarget"]

_RETRY = 1.0  # seconds until a file that could not be written is tried again
_LOOK = 1.0  # seconds between two looks at whether the path still names the file
_MODE = 0o644  # as supervisord's, under the umask
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK

Event = Callable[[str, dict[str, object]], None]


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """One file that gets a copy.

    Attributes:
        path: Absolute.
        stream: `stdout`, `stderr` or `both`.
        max_bytes: Size at which it is rotated; 0: never.
        backups: Rotated files that are kept; 0: it is emptied.
    """

    path: str
    stream: str = "both"
    max_bytes: int = 0
    backups: int = 10

    def takes(self, stream: str) -> bool:
        """Return whether bytes of a stream go there; what is ours goes everywhere."""
        return not stream or self.stream in ("both", stream)


class Copies:
    """All files that get copies.

    Args:
        timers: For reports of what was left out.
        event: Tells the keeper: kind and the keys it carries.
    """

    def __init__(self, timers: Timers, event: Event) -> None:
        self._timers = timers
        self._event = event
        self._files: dict[str, _File] = {}

    def put(self, target: CopyTarget, data: bytes) -> None:
        """Append bytes to a file."""
        file = self._files.get(target.path)
        if file is None:
            file = self._files[target.path] = _File(target.path, self._timers, self._event)
        file.write(data, target)

    def release(self, paths: Iterable[str]) -> None:
        """Let go of files for now; the next byte opens them again."""
        for path in paths:
            file = self._files.pop(path, None)
            if file is not None:
                file.close()

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


class _File:
    """One file, open from the first byte on."""

    def __init__(self, path: str, timers: Timers, event: Event) -> None:
        self._path = path
        self._event = event
        self._fd = -1
        self._size = 0
        self._is_regular = True
        self._next_look = self._next_try = 0.0
        self._reason = ""
        self._drops = Drops(timers, self._tell_dropped)

    def write(self, data: bytes, target: CopyTarget) -> None:
        """Append, rotating as needed; what cannot be written is left out and counted."""
        now = time.monotonic()
        if self._reason and now < self._next_try:
            self._drops.add(len(data))
            return
        try:
            self._open(now)
            self._write(data)
            if target.max_bytes and self._is_regular and self._size >= target.max_bytes:
                self._rotate(target.backups)
        except OSError as error:
            self._fail(error, len(data), now)
            return
        if self._reason:
            self._reason = ""
            self._drops.over()

    def close(self) -> None:
        """Report what was left out, and let go of the file."""
        self._drops.report()
        self._close()

    def _open(self, now: float) -> None:
        if self._fd >= 0 and now >= self._next_look:
            self._next_look = now + _LOOK
            if not self._is_same():
                self._close()
        if self._fd < 0:
            self._fd = os.open(self._path, _FLAGS, _MODE)
            status = os.fstat(self._fd)
            self._size, self._is_regular = status.st_size, stat.S_ISREG(status.st_mode)
            self._next_look = now + _LOOK

    def _is_same(self) -> bool:
        """Return whether the path still names the open file, and take note of its size."""
        try:
            there, here = os.stat(self._path), os.fstat(self._fd)
        except OSError:
            return False
        self._size = here.st_size
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _rotate(self, backups: int) -> None:
        """Move each rotated file one number up, and the file itself to the first."""
        if not backups:
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        for number in range(backups - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        os.replace(self._path, f"{self._path}.1")
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fail(self, error: OSError, size: int, now: float) -> None:
        self._close()
        reason = f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, 'unknown')})"
        if not self._reason:
            self._event("sink_away", {"path": self._path, "reason": reason})
        self._reason, self._next_try = reason, now + _RETRY
        self._drops.add(size)

    def _tell_dropped(self, size: int, since_wall: float) -> None:
        facts = {"path": self._path, "bytes": size, "since_wall": since_wall, "reason": self._reason}
        self._event("sink_dropped", dict(facts))
