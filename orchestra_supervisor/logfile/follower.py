"""New lines of a log as they come, across rotation, truncation and removal."""

import os
from contextlib import suppress
from typing import Self

from orchestra_supervisor.logfile.index import Flag, Record
from orchestra_supervisor.logfile.lines import ForwardAssembler, LogLine
from orchestra_supervisor.logfile.many_lines import Pattern
from orchestra_supervisor.logfile.open_segment import OpenSegment, open_current, open_segment
from orchestra_supervisor.logfile.reader import Tail, record_source
from orchestra_supervisor.logfile.segments import list_segments, segment_id_of

__all__ = ["Follower", "tail_and_follow"]

_POLL_LIMIT = 16 * 1024 * 1024  # bytes read in one poll; the rest is for the next one
_BLOCK = 1024 * 1024
_RECORDS = 8192


class Follower:
    """Hands out the lines of a log that end after it was made.

    A last line without newline is held back until its newline comes, its stream ends, or bytes were
    dropped behind it: handed out earlier, the rest of it would look like another line. (`read_lines`
    shows it as it stands.) A line that was begun before the follower was made is handed out whole.

    It holds up to two descriptors: close it, or use it in a with statement.

    Args:
        path: The log file, which need not exist yet.
        pattern: Only lines in which it is found.

    Raises:
        OSError: The log exists and cannot be read.
    """

    def __init__(self, path: str, *, pattern: Pattern | None = None) -> None:
        self._path = path
        self._pattern = pattern
        self._lines = ForwardAssembler()
        self._segment: OpenSegment | None = None
        self._position = 0
        self._next_record = 0
        self._record: Record | None = None
        self.start(limit=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. May be called twice."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def start(self, *, limit: int, since_wall: float | None = None) -> list[LogLine]:
        """Begin anew at the present end of the log; return the newest finished lines before it.

        Raises:
            OSError: The log exists and cannot be read.
        """
        self.close()
        self._lines = ForwardAssembler()
        tail = Tail(limit=limit, since_wall=since_wall, pattern=self._pattern, keep_open=True)
        self._enter(open_current(self._path))
        if self._segment is not None:
            self._position = self._segment.size()
            self._catch_up(self._segment)
            tail.read(self._segment, self._position)
        tail.read_rotated(self._path, self._segment)
        lines = [found.line for found in tail.result()]
        for found in tail.unfinished:
            self._lines.begin(found.source, found.at_ns, found.line.data)
        return lines

    def poll(self) -> list[LogLine]:
        """Return the lines that have ended since the last poll, at once.

        Much output is handed out in several polls: when a poll returns lines, another may find more. (With
        a pattern, also when it returns none.)

        Raises:
            OSError: The log exists and cannot be read.
        """
        lines: list[LogLine] = []
        budget = _POLL_LIMIT
        has_seen = False
        while budget > 0 or not has_seen:  # a poll that finds nothing has read to the end
            if self._segment is None:
                self._enter(open_current(self._path))
            if self._segment is None:
                break
            segment = self._segment
            has_moved = self._has_moved(segment)  # asked first: nothing is added after a move
            got: list[LogLine] = []
            size = self._read(segment, max(budget, _BLOCK), got)
            budget -= size
            has_seen = has_seen or bool(got)
            lines += self._wanted(got)
            # All of it has been read, and no other segment follows it.
            if self._segment is segment and not size and not (has_moved and self._enter_next(segment)):
                break
        return lines

    def _wanted(self, lines: list[LogLine]) -> list[LogLine]:
        if self._pattern is None:
            return lines
        return [line for line in lines if self._pattern.search(line.data)]

    def _enter(self, segment: OpenSegment | None) -> None:
        self.close()
        self._segment = segment
        self._position = 0
        self._next_record = 0
        self._record = None

    def _enter_next(self, segment: OpenSegment) -> bool:
        """Go on to the segment after this one, if it is there already."""
        follower: OpenSegment | None = None
        if segment.segment_id is not None:
            newer = [
                (number, each)
                for each in list_segments(self._path)
                if (number := segment_id_of(each.path)) is not None and number > segment.segment_id
            ]
            follower = open_segment(min(newer, key=lambda pair: pair[0])[1]) if newer else None
        follower = follower or open_current(self._path)
        if follower is None:
            return False
        self._enter(follower)
        return True

    def _has_moved(self, segment: OpenSegment) -> bool:
        """Return whether the path names another file than the one that is read."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return False  # between two steps of a rotation, or removed: the writer may still hold it
        return segment.identity != (status.st_dev, status.st_ino)

    def _catch_up(self, segment: OpenSegment) -> None:
        """Find the place in the index that belongs to the position in the log."""
        self._next_record = segment.first_record_at(self._position + 1)
        self._record, _ = segment.records_between(self._position + 1, self._position + 1)

    def _read(self, segment: OpenSegment, budget: int, lines: list[LogLine]) -> int:
        """Read on, at most `budget` bytes; add the lines that end there and return the number of bytes."""
        size = segment.size()
        if size < self._position:  # truncated in place: what is there now is new
            lines += self._lines.end(None)
            self._enter(open_current(self._path))
            return 1
        if segment.segment_id is None:
            self._adopt_index(segment)
        end = min(size, self._position + budget)
        begin = self._position
        count = segment.record_count()
        if count < self._next_record:  # cut by a recovery
            self._catch_up(segment)
        elif count > self._next_record:
            until = segment.first_record_at(end + 1)
            for first in range(self._next_record, until, _RECORDS):
                for record in segment.records(first, min(until, first + _RECORDS)):
                    self._feed(segment, record.offset, lines)
                    self._apply(record, lines)
            self._next_record = max(until, self._next_record)
        self._feed(segment, end, lines)
        return end - begin

    def _apply(self, record: Record, lines: list[LogLine]) -> None:
        if record.flags & Flag.DROPPED:
            lines += self._lines.end(None)
        if record.flags & Flag.END:
            lines += self._lines.end((record.stream, record.run))
        self._record = record

    def _feed(self, segment: OpenSegment, end: int, lines: list[LogLine]) -> None:
        source, at_ns = record_source(self._record)
        while self._position < end:
            data = segment.read(self._position, min(_BLOCK, end - self._position))
            if not data:
                return
            self._position += len(data)
            lines += self._lines.feed(source, at_ns, data)

    def _adopt_index(self, segment: OpenSegment) -> None:
        """Take the index into use that somebody has made since the log was opened."""
        with suppress(FileNotFoundError):
            if segment.open_index():
                self._catch_up(segment)


def tail_and_follow(
    path: str, lines: int, *, since_wall: float | None = None, pattern: Pattern | None = None
) -> tuple[list[LogLine], Follower]:
    """Return the newest finished lines, and a follower that goes on where they end.

    No line is missing between the two, and none is in both.

    Args:
        path: The log file, which need not exist yet.
        lines: At most so many lines.
        since_wall: Only lines that began at or after this instant (of the first part alone).
        pattern: Only lines in which it is found (of both).

    Raises:
        OSError: The log exists and cannot be read.
    """
    follower = Follower(path, pattern=pattern)
    try:
        return follower.start(limit=lines, since_wall=since_wall), follower
    except OSError:
        follower.close()
        raise
