"""One stream of a log as if it stood in a file of its own: what tools expect that know a file a stream.

The segment that is being written counts, as it does for them; a rotated one is another file. Where bytes
stand is worked out from the index once and carried on as it grows, so that a poll costs what is new.
"""

import os
from array import array
from bisect import bisect_right

from orchestra_supervisor.logfile.index import STREAM_CODES, Record
from orchestra_supervisor.logfile.open_segment import OpenSegment, open_current

__all__ = ["TRUNCATED", "StreamFollower", "StreamView"]

TRUNCATED = b"==> File truncated <==\n"
"""What a tail says when bytes that it had read are gone. Source: supervisor 4.3, `http.py`."""
_RECORDS = 8192
_STREAM = 0x7F  # the code alone: 128 more says that the bytes are objects, one a line
_POLL = 64 * 1024
_STDERR = STREAM_CODES["stderr"]


class StreamView:
    """The bytes of one stream in the segment that is being written. Holds up to two descriptors: close it.

    Bytes of which nobody knows the stream count as stdout.

    Args:
        path: The log, which need not exist.
        stream: `stdout`, `stderr`, or `both` as they came.

    Raises:
        OSError: The log exists and cannot be read.
    """

    def __init__(self, path: str, stream: str) -> None:
        self._path = path
        self._wanted = stream
        self._segment: OpenSegment | None = None
        self._begin(None)
        self.refresh()

    def close(self) -> None:
        """Close the files. May be called twice."""
        self._begin(None)

    @property
    def exists(self) -> bool:
        """True when there is a log."""
        return self._segment is not None

    @property
    def size(self) -> int:
        """Bytes of the stream, as of the last `refresh` or `extend`."""
        return self._size

    def refresh(self) -> None:
        """Take up what has come since, in another segment if that is being written by now.

        Raises:
            OSError: The log exists and cannot be read.
        """
        if self._segment is None or self.has_moved():
            self._begin(open_current(self._path))
        self.extend()

    def has_moved(self) -> bool:
        """Return whether the log is another file by now: nothing is added to this one any more."""
        if self._segment is None:
            return True
        try:
            status = os.stat(self._path)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._segment.identity

    def extend(self) -> None:
        """Take up what has come since in this same segment."""
        segment = self._segment
        if segment is None:
            return
        end = segment.size()
        if end < self._end:
            self._begin(segment)  # cut short by somebody: all is read anew
        segment.open_index()
        if self._wanted == "both":
            self._add(self._end, end)
        else:
            # A record of the very end may be taken back; it counts once its bytes are there.
            until = segment.first_record_at(end)
            while self._next_record < until:
                last = min(until, self._next_record + _RECORDS)
                for record in segment.records(self._next_record, last):
                    self._pass(record, end)
                self._next_record = last
            if self._is_wanted():
                self._add(self._end, end)
        self._end = max(self._end, end)

    def read(self, offset: int, size: int) -> bytes:
        """Read bytes of the stream; fewer only at its end."""
        parts: list[bytes] = []
        segment = self._segment
        size = min(size, self._size - offset)
        if segment is None or offset < 0:
            return b""
        number = bisect_right(self._starts, offset) - 1
        while size > 0 and number < len(self._starts):
            within = offset - self._starts[number]
            following = self._starts[number + 1] if number + 1 < len(self._starts) else self._size
            part = segment.read(self._places[number] + within, min(size, following - offset))
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
            if offset >= following:
                number += 1
        return b"".join(parts)

    def _begin(self, segment: OpenSegment | None) -> None:
        if self._segment is not None and self._segment is not segment:
            self._segment.close()
        self._segment = segment
        self._starts = array("Q")  # where in the stream each stretch begins
        self._places = array("Q")  # and where in the segment
        self._size = self._end = self._next_record = 0
        self._record: Record | None = None

    def _pass(self, record: Record, end: int) -> None:
        at = min(record.offset, end)
        if at > self._end:
            if self._is_wanted():
                self._add(self._end, at)
            self._end = at
        self._record = record

    def _is_wanted(self) -> bool:
        is_stderr = self._record is not None and self._record.stream & _STREAM == _STDERR
        return is_stderr == (self._wanted == "stderr")

    def _add(self, start: int, end: int) -> None:
        if end <= start:
            return
        joined = self._starts and self._places[-1] + self._size - self._starts[-1] == start
        if not joined:
            self._starts.append(self._size)
            self._places.append(start)
        self._size += end - start


class StreamFollower:
    """Hands out a stream from near its end on, across rotation. Holds up to two descriptors: close it.

    Args:
        path: The log.
        stream: As in `StreamView`.
        head: Bytes before the end to begin with.

    Raises:
        OSError: The log exists and cannot be read.
    """

    def __init__(self, path: str, stream: str, head: int) -> None:
        self._view = StreamView(path, stream)
        self._position = max(0, self._view.size - head)

    def close(self) -> None:
        """Close the files. May be called twice."""
        self._view.close()

    def poll(self) -> bytes:
        """Return what has come since, 64 KiB at most; empty when nothing has.

        Raises:
            OSError: The log exists and cannot be read.
        """
        view = self._view
        has_moved = view.has_moved()  # asked first: nothing is added after a move
        view.extend()
        if self._position > view.size:
            self._position = 0
            return TRUNCATED
        if has_moved and self._position == view.size:
            view.refresh()
            self._position = 0
        data = view.read(self._position, _POLL)
        self._position += len(data)
        return data
