"""The directories that hold logs: made when missing, locked against a second logger.

An old logger whose keeper was killed goes on until every writer has gone, while a new one may
already be asked to write the same files. The lock (flock on `.logger.lock`) is held as long as a
log of the directory is open, so that two loggers never write one file.
"""

import errno
import fcntl
import os
import time
from contextlib import suppress

from orchestra_supervisor.logfile.segments import split_name

__all__ = ["LOCK_NAME", "LOCK_RETRY", "Directories", "LockBusy"]

LOCK_NAME = ".logger.lock"
LOCK_RETRY = 0.05
"""Seconds between two attempts at a lock that another logger holds."""

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750


class LockBusy(OSError):
    """Another logger still writes in this directory."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            errno.EWOULDBLOCK, "another logger still writes here", os.path.join(directory, LOCK_NAME)
        )


class _Directory:
    """One locked directory: its lock, how many logs are open in it, and what rotation left in it."""

    def __init__(self, lock_fd: int, leavings: dict[str, dict[str, set[str]]]) -> None:
        self.lock_fd = lock_fd
        self.leavings = leavings
        self.users = 0


class Directories:
    """All directories in which logs are open."""

    def __init__(self) -> None:
        self._held: dict[str, _Directory] = {}
        self._refused: dict[str, float] = {}

    def enter(self, path: str) -> dict[str, set[str]]:
        """Make and lock the directory of a log that is about to be opened.

        Returns:
            The log's rotated segments: stamp to the kinds of files that there are of it. The directory
            is listed once, when it is locked; what the log changes it tells by `leave`.

        Raises:
            LockBusy: Another logger holds it.
            OSError: It cannot be made, locked or read.
        """
        name, base = os.path.split(path)
        directory = self._held.get(name)
        if directory is None:
            if time.monotonic() - self._refused.get(name, -LOCK_RETRY) < LOCK_RETRY:
                raise LockBusy(name)
            os.makedirs(name, _DIRECTORY_MODE, exist_ok=True)
            lock_fd = _lock(name)
            if lock_fd is None:
                self._refused[name] = time.monotonic()
                raise LockBusy(name)
            try:
                directory = _Directory(lock_fd, _list(name))
            except OSError:
                os.close(lock_fd)
                raise
            self._refused.pop(name, None)
            self._held[name] = directory
        directory.users += 1
        return directory.leavings.pop(base, {})

    def leave(self, path: str, leavings: dict[str, set[str]]) -> None:
        """Take note that a log was closed, and what there is of its rotated segments.

        The directory is unlocked after the last one.
        """
        name, base = os.path.split(path)
        directory = self._held[name]
        directory.leavings[base] = leavings
        directory.users -= 1
        if not directory.users:
            os.close(directory.lock_fd)
            del self._held[name]


def _lock(directory: str) -> int | None:
    """Return the descriptor that holds the lock, or None when another process has it.

    Raises:
        OSError: The lock file cannot be made.
    """
    path = os.path.join(directory, LOCK_NAME)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(fd).st_ino:
                    return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # somebody removed the file between open and lock: lock the one that is there now


def _list(directory: str) -> dict[str, dict[str, set[str]]]:
    leavings: dict[str, dict[str, set[str]]] = {}
    for name in os.listdir(directory):
        parts = split_name(name)
        if parts is not None:
            log, stamp, kind = parts
            leavings.setdefault(log, {}).setdefault(stamp, set()).add(kind)
    return leavings
