"""The newest lines of a log, across rotated and packed segments.

The log is read backwards in blocks, so that ten lines of a file of any size cost a few blocks. The
memory used is that of the lines asked for, and of at most one line (`MAX_LINE`) a source.
"""

from collections.abc import Iterator
from contextlib import closing

from orchestra_supervisor.logfile.index import Flag, Record
from orchestra_supervisor.logfile.lines import BackwardAssembler, Found, LogLine, Source
from orchestra_supervisor.logfile.many_lines import Pattern
from orchestra_supervisor.logfile.open_segment import OpenSegment, open_current, open_segment
from orchestra_supervisor.logfile.segments import list_segments, stamp_wall

__all__ = ["LOOKBACK", "Tail", "read_lines", "record_source"]


LOOKBACK = 4 * 1024 * 1024
"""Bytes of other sources that are searched for the beginning of a line once all else has been found.

The parts of one line that lie further apart are shown as if the line began with the later one.
"""

_FIRST_BLOCK = 64 * 1024
_LAST_BLOCK = 1024 * 1024
_NOWHERE = -(2**63)


def read_lines(
    path: str, *, limit: int | None, since_wall: float | None = None, pattern: Pattern | None = None
) -> list[LogLine]:
    """Return the newest lines of a log, in the order of their last bytes.

    Args:
        path: The log file; its rotated segments are found beside it. None of them has to exist.
        limit: At most so many lines; None: all.
        since_wall: Only lines that began at or after this instant (seconds since the epoch); lines
            whose time is unknown are left out then.
        pattern: Only lines in which it is found.

    Raises:
        OSError: A file of the log exists and cannot be read.
    """
    tail = Tail(limit=limit, since_wall=since_wall, pattern=pattern)
    current = open_current(path)
    if current is None:
        tail.read_rotated(path, None)
    else:
        with closing(current):
            tail.read(current, current.size())
            tail.read_rotated(path, current)
    return [found.line for found in tail.result()]


def record_source(record: Record | None) -> tuple[Source, int]:
    """Return whose bytes follow a record, and when they came (ns); unknown without a record."""
    return ((record.stream, record.run), record.time_ns) if record else ((0, 0), 0)


class Tail:
    """Collects the newest lines while segments are read backwards, the newest segment first.

    Args:
        limit: At most so many lines; None: all.
        since_wall: Only lines that began at or after this instant.
        pattern: Only lines in which it is found.
        keep_open: Keep lines apart that are not finished and may still be continued, see `unfinished`.
    """

    def __init__(
        self,
        *,
        limit: int | None,
        since_wall: float | None = None,
        pattern: Pattern | None = None,
        keep_open: bool = False,
    ) -> None:
        self._limit = limit
        self._since_ns = 0 if since_wall is None else int(since_wall * 1e9)
        self._pattern = pattern
        self._keep_open = keep_open
        self._lines = BackwardAssembler()
        self._found: list[Found] = []
        self._position = 0
        self._is_past = False
        self._newest_run: int | None = None
        self.unfinished: list[Found] = []

    def read(self, segment: OpenSegment, size: int) -> None:
        """Read a segment's first `size` bytes from their end towards their start, as far as is needed."""
        base = self._position - size
        end, step = size, _FIRST_BLOCK
        while not self._has_enough():
            start = max(0, end - step)
            self._read_block(
                segment, start, end, base, is_end=end == size
            )  # an empty segment has records, too
            self._position = base + start
            self._is_past = self._is_past and not self._is_young_before(segment, start)
            end, step = start, min(step * 2, _LAST_BLOCK)
            if not end:
                return

    def read_rotated(self, path: str, current: OpenSegment | None) -> None:
        """Read the rotated segments of a log, the newest first, as far as is needed."""
        for segment in reversed(list_segments(path)):
            # Stamps never go back as the clock may: where there is one it decides, and no line behind it.
            if wall := stamp_wall(segment.stamp):
                self._is_past = wall < self._since_ns / 1e9
            if self._has_enough():
                return
            opened = open_segment(segment)
            if opened is None:
                continue
            with closing(opened):
                # What was open as the current one may have been rotated meanwhile.
                if current is None or _is_older(opened, current):
                    self.read(opened, opened.size())

    def result(self) -> list[Found]:
        """Return what was found, the oldest first."""
        self._take(self._lines.finish())
        self._found.sort(key=lambda found: found.order)
        return self._found[-self._limit :] if self._limit else [] if self._limit == 0 else self._found

    def _read_block(self, segment: OpenSegment, start: int, end: int, base: int, *, is_end: bool) -> None:
        before, records = segment.records_between(start, end + 1 if is_end else end)
        data = segment.read(start, end - start)
        upper = start + len(data)
        for record in reversed(records):
            if record.offset < upper:
                self._feed(record, data[record.offset - start : upper - start], base + record.offset)
                upper = record.offset
            if record.flags & Flag.END:
                self._lines.ended((record.stream, record.run))
            if record.flags & Flag.DROPPED:
                self._take(self._lines.cut())
        if start < upper:
            self._feed(before, data[: upper - start], base + start)

    def _feed(self, record: Record | None, data: bytes, position: int) -> None:
        source, at_ns = record_source(record)
        self._is_past = self._is_past or at_ns < self._since_ns
        if self._newest_run is None:
            self._newest_run = source[1]
        elif source[1] != self._newest_run:
            self._lines.ended(source)  # an older run: nothing will continue its last line
        self._take(self._lines.feed(source, at_ns, data, position))

    def _take(self, found: list[Found]) -> None:
        self._found += self._wanted(found)
        if self._limit and len(self._found) > 2 * self._limit + 1000:
            self._found.sort(key=lambda each: each.order)
            del self._found[: -self._limit]

    def _wanted(self, found: list[Found]) -> Iterator[Found]:
        for each in found:
            if each.is_open and self._keep_open:
                self.unfinished.append(each)
            elif each.at_ns >= self._since_ns and (not self._pattern or self._pattern.search(each.line.data)):
                yield each

    def _is_young_before(self, segment: OpenSegment, offset: int) -> bool:
        """Look for a time before an offset that is wanted again: then the clock was set back for a while.

        A few records at doubling distances are asked. They see a time that lasted longer than the wrong one.
        """
        number, distance = segment.first_record_at(offset) - 1, 1
        while number >= 0:
            if any(record.time_ns >= self._since_ns for record in segment.records(number, number + 1)):
                return True
            number, distance = number - distance, distance * 2
        return False

    def _has_enough(self) -> bool:
        newest = _NOWHERE
        if self._limit is not None and len(self._found) >= self._limit:
            orders = sorted(found.order for found in self._found)
            newest = orders[-self._limit] if self._limit else 0
        elif not self._is_past:
            return False
        if self._position == 0:  # nothing has been read: whether a line is unfinished is not known yet
            return False
        return all(left - self._position > LOOKBACK for left in self._lines.pending(newest, self._since_ns))


def _is_older(one: OpenSegment, current: OpenSegment) -> bool:
    if one.segment_id is not None and current.segment_id is not None:
        return one.segment_id < current.segment_id
    return one.identity != current.identity
