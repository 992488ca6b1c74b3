"""A segment and its index, open for reading: bytes by offset, records by offset.

Whatever is done to a segment meanwhile (rotated, packed, deleted), what was opened stays readable.
"""

import gzip
import os
import stat
import tempfile
import zlib
from contextlib import ExitStack, suppress
from typing import IO

from orchestra_supervisor.logfile.index import (
    HEADER_SIZE,
    INDEX_SUFFIX,
    RECORD_SIZE,
    Record,
    decode_header,
    decode_record,
    encode_run,
    iter_records,
    pread_exactly,
)
from orchestra_supervisor.logfile.segments import GZIP_SUFFIX, Segment

__all__ = ["OpenSegment", "open_current", "open_index_of", "open_segment"]

_IN_MEMORY = (
    32 * 1024 * 1024
)  # bytes of an unpacked segment that are held in memory, more go to a temporary file
_COPY = 1024 * 1024
_RECORDS_AT_ONCE = 8192
_ATTEMPTS = 10


class OpenSegment:
    """A segment and its index, open for reading. Holds at most two descriptors until closed.

    Attributes:
        identity: Device and inode of the file that was opened.
        segment_id: From the header of the index, or None: there is no index.
        is_packed: What `read` and `size` would give is not unpacked: the index alone is of use.
    """

    def __init__(
        self, log_fd: int, index_path: str, unpacked: IO[bytes] | None = None, *, is_packed: bool = False
    ) -> None:
        self.is_packed = is_packed
        self._fd = log_fd
        self._unpacked = unpacked
        self._index_path = index_path
        self._index_fd = -1
        status = os.fstat(log_fd)
        self.identity = (status.st_dev, status.st_ino)
        self.segment_id: int | None = None
        self.open_index()

    def open_index(self) -> bool:
        """Open the index if that has not been possible so far; return whether it is open now."""
        if self._index_fd < 0:
            with suppress(OSError):
                fd = _open_regular(self._index_path)
                self.segment_id = decode_header(pread_exactly(fd, HEADER_SIZE, 0))
                if self.segment_id is None:
                    os.close(fd)
                else:
                    self._index_fd = fd
        return self._index_fd >= 0

    def close(self) -> None:
        """Close both files. May be called twice."""
        for fd in (self._fd, self._index_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._index_fd = -1
        if self._unpacked is not None:
            self._unpacked.close()

    def size(self) -> int:
        """Return how many bytes of log there are, at this moment."""
        if self._unpacked is not None:
            return self._unpacked.seek(0, os.SEEK_END)
        return os.fstat(self._fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Read log bytes; fewer only at the end."""
        if self._unpacked is not None:
            self._unpacked.seek(offset)
            return self._unpacked.read(size)
        return pread_exactly(self._fd, size, offset)

    def record_count(self) -> int:
        """Return how many records the index has, at this moment."""
        if self._index_fd < 0:
            return 0
        return max(0, (os.fstat(self._index_fd).st_size - HEADER_SIZE) // RECORD_SIZE)

    def records(self, first: int, last: int) -> list[Record]:
        """Return the sound records from number `first` up to but not including `last`."""
        if self._index_fd < 0 or last <= first:
            return []
        size = (last - first) * RECORD_SIZE
        return list(iter_records(pread_exactly(self._index_fd, size, HEADER_SIZE + first * RECORD_SIZE)))

    def first_record_at(self, offset: int) -> int:
        """Return the number of the first record at or after a log offset; the count when there is none."""
        low, high = 0, self.record_count()
        while low < high:
            middle = probe = (low + high) // 2
            record = self._record(probe)
            while record is None and probe > low:  # damaged: the one before it decides
                probe -= 1
                record = self._record(probe)
            if record is None or record.offset < offset:
                low = middle + 1
            else:
                high = probe
        return low

    def first_record_of(self, run: int) -> tuple[int, Record] | None:
        """Return the first sound record of a run and its number, or None.

        Whole blocks are searched for the run's bytes: an index may have a million records of other runs.
        """
        wanted = encode_run(run)
        count = self.record_count()
        for first in range(0, count, _RECORDS_AT_ONCE):
            size = min(_RECORDS_AT_ONCE, count - first) * RECORD_SIZE
            block = pread_exactly(self._index_fd, size, HEADER_SIZE + first * RECORD_SIZE)
            at = block.find(wanted)
            while at >= 0:
                number = at // RECORD_SIZE
                record = decode_record(block, number * RECORD_SIZE)
                if record is not None and record.run == run:
                    return first + number, record
                at = block.find(wanted, at + 1)
        return None

    def records_between(self, start: int, end: int) -> tuple[Record | None, list[Record]]:
        """Return what the index says of the log bytes from `start` up to `end`.

        Returns:
            The record in force just before `start` (None: nothing is known), and the records
            at `start` and after it, before `end`.
        """
        first = at = self.first_record_at(start)
        found: list[Record] = []
        count = self.record_count()
        while at < count:
            block = self.records(at, min(count, at + _RECORDS_AT_ONCE))
            at += _RECORDS_AT_ONCE
            found += [record for record in block if start <= record.offset < end]
            if block and block[-1].offset >= end:
                break
        before: Record | None = None
        while before is None and first > 0:
            first -= 1
            before = self._record(first)
        return before, found

    def _record(self, number: int) -> Record | None:
        return decode_record(pread_exactly(self._index_fd, RECORD_SIZE, HEADER_SIZE + number * RECORD_SIZE))


def open_current(path: str) -> OpenSegment | None:
    """Open the segment that is being written; None when there is no such file.

    Raises:
        OSError: It is there and cannot be opened.
    """
    for _ in range(_ATTEMPTS):
        try:
            segment = OpenSegment(_open_regular(path), path + INDEX_SUFFIX)
        except FileNotFoundError:
            return None
        # A rotation between the two opens would pair the old file with the new index.
        with suppress(FileNotFoundError):
            status = os.stat(path)
            if segment.identity == (status.st_dev, status.st_ino):
                return segment
        segment.close()
    return None


def open_segment(segment: Segment) -> OpenSegment | None:
    """Open a rotated segment, unpacking it if need be; None when it is gone.

    Raises:
        OSError: It is there and cannot be read.
    """
    with suppress(FileNotFoundError):
        return OpenSegment(_open_regular(segment.path), segment.path + INDEX_SUFFIX)
    # Packed, perhaps since it was listed.
    try:
        fd = _open_regular(segment.path + GZIP_SUFFIX)
    except FileNotFoundError:
        return None
    with ExitStack() as stack:
        stack.callback(os.close, fd)
        unpacked = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))
        # A damaged pack still gives what comes before the damage.
        damage = suppress(EOFError, zlib.error, gzip.BadGzipFile)
        with damage, os.fdopen(os.dup(fd), "rb") as raw, gzip.open(raw) as packed:
            while block := packed.read1(_COPY):  # read() would lose what precedes the damage
                unpacked.write(block)
        opened = OpenSegment(fd, segment.path + INDEX_SUFFIX, unpacked)
        stack.pop_all()
        return opened


def open_index_of(path: str) -> OpenSegment | None:
    """Open a rotated segment without unpacking it; None when it is gone.

    Raises:
        OSError: It is there and cannot be read.
    """
    for suffix in ("", GZIP_SUFFIX):
        with suppress(FileNotFoundError):
            return OpenSegment(_open_regular(path + suffix), path + INDEX_SUFFIX, is_packed=bool(suffix))
    return None


def _open_regular(path: str) -> int:
    """Open a file for reading, without waiting for the other end of what is not one.

    Raises:
        OSError: It cannot be opened, or is a pipe, device or directory.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        msg = f"not a regular file: {path}"
        raise OSError(msg)
    return fd
