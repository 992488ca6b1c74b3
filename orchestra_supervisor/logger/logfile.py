"""One log file that is being written: opened, recovered, indexed, rotated.

The logger never holds a log byte: `take` moves them from the pipe to the file inside the kernel,
so that a logger killed at any instruction loses none and doubles none (ADR-0002). The file is not
opened for appending, which splice refuses: the place to write at is the logger's own knowledge,
taken from the size of the file when it was opened.
"""

import errno
import os
import stat
import time
from contextlib import suppress

from orchestra_supervisor.logfile.index import (
    HEADER_SIZE,
    INDEX_SUFFIX,
    RECORD_SIZE,
    Flag,
    Record,
    decode_record,
    encode_header,
    encode_record,
    pread_exactly,
    pwrite_exactly,
    recover_index,
)
from orchestra_supervisor.logger.archive import Archive
from orchestra_supervisor.logger.directory import Directories
from orchestra_supervisor.logger.options import Rotation
from orchestra_supervisor.logger.packer import Packer

__all__ = ["CHUNK", "LINE_WAIT", "OVERSHOOT", "RECORD_INTERVAL_NS", "LogFile"]

CHUNK = 1024 * 1024
"""Bytes that are moved at most in one turn, so that one noisy service does not starve the others."""
OVERSHOOT = 64 * 1024
"""Bytes by which a segment may exceed its limit to end at the end of a line: what a pipe holds."""
LINE_WAIT = 5.0
"""Seconds for which a segment that is old waits for the end of a line."""
RECORD_INTERVAL_NS = 50_000_000
"""Nanoseconds after which a new index record tells the time anew."""

_MODE = 0o640
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # what is no file must not be waited for
_NO_INDEX = frozenset({errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO})


class LogFile:
    """Writes one log. Holds two descriptors while it is open, none while it is closed.

    Args:
        path: Absolute path of the log.
        rotation: How it is rotated; may be replaced at any time.
        directories: Locks its directory.
        packer: Packs its rotated segments.
    """

    def __init__(self, path: str, rotation: Rotation, directories: Directories, packer: Packer) -> None:
        self.path = path
        self.rotation = rotation
        self.complaint = ""
        """Why there is no index although the log can be written; empty: there is one."""
        self._directories = directories
        self._packer = packer
        self._archive: Archive | None = None
        self._fd = self._index_fd = -1
        self._offset = self._index_end = self._segment_id = self._begun_ns = 0
        self._last: Record | None = None
        self._before: tuple[Record | None, int] | None = None
        self._torn: Record | None = None
        self._identity = (0, 0)

    @property
    def is_open(self) -> bool:
        """True while the file is open."""
        return self._fd >= 0

    @property
    def fd(self) -> int:
        """Descriptor of the log, to be written at `offset` alone; -1 while it is closed."""
        return self._fd

    @property
    def offset(self) -> int:
        """Where the next byte goes."""
        return self._offset

    def open(self) -> bool:
        """Open the log, making it and its directory when missing, and set its index right.

        Returns:
            True when the index was damaged and has been repaired.

        Raises:
            LockBusy: Another logger writes in this directory.
            OSError: The log cannot be written. It is closed again.
        """
        leavings = self._directories.enter(self.path)
        self._archive = Archive(self.path, leavings, self._packer)
        try:
            is_repaired = self._open_files()
        except OSError:
            self.close()
            raise
        self._archive.tidy(backups=self.rotation.backups, compress=self.rotation.compress)
        return is_repaired

    def close(self) -> None:
        """Close the files and let go of the directory. May be called twice."""
        self._close_files()
        if self._archive is not None:
            self._directories.leave(self.path, self._archive.leavings)
            self._archive = None

    def begin(self, run: int, stream: int, flags: int = 0) -> None:
        """Say whose bytes follow, unless the index says so already and recently.

        Raises:
            OSError: The index cannot be written; no byte may follow.
        """
        last, now = self._last, time.time_ns()
        if (
            last is not None
            and last.run == run
            and last.stream == stream
            and not flags
            and abs(now - last.time_ns) < RECORD_INTERVAL_NS  # abs: the clock may have been set back
        ):
            self._before = None
            return
        self._before = (last, self._index_end)
        self._write_record(Record(now, self._offset, run, stream, flags))

    def take_back(self) -> None:
        """The bytes that the last `begin` announced did not come: forget its record."""
        if self._before is not None:
            self._last, self._index_end = self._before
            self._before = None

    def advance(self, size: int) -> None:
        """Take note that `size` bytes were written at `offset`."""
        if not self._offset:
            self._begun_ns = time.time_ns()
        self._offset += size

    def write(self, run: int, chunks: list[tuple[int, bytes]], flags: int) -> None:
        """Write bytes that have gone through our memory: all of them, or none.

        Args:
            run: Whose they are, as the index writes it.
            chunks: Stream, as the index writes it, and bytes.
            flags: Of the first record.

        Raises:
            OSError: They cannot be written. The log is as it was.
        """
        before = (self._last, self._index_end, self._offset, self._torn)
        try:
            self._mend()
            for stream, data in chunks:
                self.begin(run, stream, flags)
                flags = 0
                pwrite_exactly(self._fd, data, self._offset)
                self.advance(len(data))
        except OSError:
            self._last, self._index_end, self._offset, self._torn = before
            with suppress(OSError):
                os.ftruncate(self._fd, self._offset)
            raise
        finally:
            self._before = None

    def _mend(self) -> None:
        """Give the line that a killed logger left in its middle an end of its own."""
        torn, self._torn = self._torn, None
        if torn is not None:
            self._write_record(Record(time.time_ns(), self._offset, torn.run, torn.stream))
            pwrite_exactly(self._fd, b"\n", self._offset)
            self.advance(1)

    def end(self, run: int, stream: int, flags: int = 0) -> None:
        """Say that a stream has ended.

        Raises:
            OSError: The index cannot be written. The log is as good without it.
        """
        self._write_record(Record(time.time_ns(), self._offset, run, stream, flags | int(Flag.END)))
        self._last = None

    def room(self) -> int:
        """Return how many bytes may be written before `rotate_if_due` has to be asked."""
        if not self.rotation.max_bytes:
            return CHUNK
        return max(1, min(CHUNK, self.rotation.max_bytes + OVERSHOOT - self._offset))

    def rotate_if_due(self) -> str:
        """Rotate when the segment is full or old, at the end of a line if one is near.

        Returns:
            The path of the rotated segment, or empty.

        Raises:
            OSError: It could not be done. The log may be closed now.
        """
        if not self._is_full() and not self._is_old():
            return ""
        if self.refresh() or not self.is_open:
            return ""
        return self._rotate()

    def age_due(self) -> float:
        """Return when the segment will be old, seconds since the epoch; 0: never, or it is empty."""
        if not self.rotation.max_age or not self._offset:
            return 0.0
        return self._begun_ns / 1e9 + self.rotation.max_age

    def _is_full(self) -> bool:
        over = self._offset - self.rotation.max_bytes
        return self.rotation.max_bytes > 0 and over >= 0 and (over >= OVERSHOOT or self._ends_a_line())

    def _is_old(self) -> bool:
        due = self.age_due()
        late = time.time() - due
        return due > 0 and late >= 0 and (late >= LINE_WAIT or self._ends_a_line())

    def _ends_a_line(self) -> bool:
        return os.pread(self._fd, 1, self._offset - 1) == b"\n"

    def refresh(self) -> bool:
        """Notice that the file was removed, renamed or truncated by others, and go on in the one that counts.

        Returns:
            True when it was.

        Raises:
            OSError: It was, and the new one cannot be opened. The log is closed.
        """
        try:
            status = os.stat(self.path)
            is_same = (status.st_dev, status.st_ino) == self._identity
        except FileNotFoundError:
            status, is_same = None, False
        if status is not None and is_same and status.st_size == self._offset:
            return False
        if status is not None and is_same and status.st_size > self._offset:
            self._offset = status.st_size  # somebody else appended; nothing of it is overwritten
            self._last = None
            return False
        self.close()
        self.open()
        return True

    def _rotate(self) -> str:
        assert self._archive is not None
        # Never a time before it was begun, when the clock was set back: names tell readers what is too old.
        target = self._archive.next_path(max(time.time_ns(), self._segment_id))
        # The log goes first and comes last: whoever finds it finds the index that belongs to it.
        os.rename(self.path, target)
        if self._index_fd >= 0:
            with suppress(FileNotFoundError):
                os.rename(self.path + INDEX_SUFFIX, target + INDEX_SUFFIX)
        self._archive.add(target)
        self._close_files()
        try:
            self._open_files()
        except OSError:
            self.close()
            raise
        self._archive.tidy(backups=self.rotation.backups, compress=self.rotation.compress)
        return target

    def _open_files(self) -> bool:
        assert self._archive is not None
        self._segment_id = max(time.time_ns(), self._segment_id + 1, self._archive.newest_id() + 1)
        if not os.path.lexists(self.path):
            self._clear_index_place()
        self.complaint = ""
        try:
            self._index_fd = _open_regular(self.path + INDEX_SUFFIX)
            if not os.fstat(self._index_fd).st_size:
                pwrite_exactly(self._index_fd, encode_header(self._segment_id), 0)
        except OSError as error:
            if error.errno not in _NO_INDEX:
                raise
            self.complaint = f"{error.strerror}: {self.path}{INDEX_SUFFIX}"
        self._fd = _open_regular(self.path)
        status = os.fstat(self._fd)
        self._identity = (status.st_dev, status.st_ino)
        self._offset = status.st_size
        self._last = None
        self._begun_ns = self._segment_id
        if self._index_fd < 0:
            return False
        recovery = recover_index(self._index_fd, self._offset, self._segment_id)
        self._index_end, self._segment_id = recovery.end, recovery.segment_id
        self._begun_ns = self._first_time() or self._segment_id
        last = recovery.last
        if last is not None and self._offset and not last.flags & Flag.END and not self._ends_a_line():
            self._torn = last
        return recovery.repaired

    def _first_time(self) -> int:
        first = decode_record(pread_exactly(self._index_fd, RECORD_SIZE, HEADER_SIZE))
        return first.time_ns if first else 0

    def _clear_index_place(self) -> None:
        """There is an index without a log: finish the rotation that was killed, or remove it."""
        assert self._archive is not None
        newest = self._archive.newest()
        with suppress(FileNotFoundError, IsADirectoryError):
            if newest and not os.path.exists(newest + INDEX_SUFFIX):
                os.rename(self.path + INDEX_SUFFIX, newest + INDEX_SUFFIX)
            else:
                os.unlink(self.path + INDEX_SUFFIX)

    def _close_files(self) -> None:
        for fd in (self._fd, self._index_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._index_fd = -1
        self._last = self._before = self._torn = None

    def _write_record(self, record: Record) -> None:
        if self._index_fd >= 0:
            pwrite_exactly(self._index_fd, encode_record(record), self._index_end)
            self._index_end += RECORD_SIZE
        self._last = record


def _open_regular(path: str) -> int:
    """Open or create a file for reading and writing.

    Raises:
        OSError: It cannot be opened, or is a pipe, device or directory.
    """
    fd = os.open(path, _FLAGS | os.O_CREAT, _MODE)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EPERM, "not a regular file", path)
    return fd
