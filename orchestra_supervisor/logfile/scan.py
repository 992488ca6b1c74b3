"""All lines of a log from the oldest on, a block at a time: packed segments included, whatever their size.

The memory used is that of a block and of at most one line (`MAX_LINE`) a source. What the index rules out
by time is neither unpacked nor read.
"""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

from orchestra_supervisor.logfile.envelope import ENVELOPED
from orchestra_supervisor.logfile.index import Flag, Record
from orchestra_supervisor.logfile.lines import ForwardAssembler, LogLine, Source
from orchestra_supervisor.logfile.many_lines import Pattern, for_many_lines
from orchestra_supervisor.logfile.open_segment import OpenSegment, open_current, open_index_of
from orchestra_supervisor.logfile.reader import LOOKBACK, record_source
from orchestra_supervisor.logfile.segments import GZIP_SUFFIX, list_segments, stamp_wall

__all__ = ["ALWAYS", "Span", "scan_lines"]

_BLOCK = 1024 * 1024
_RECORDS = 8192
_FOREVER = 2**64


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when lines are wanted.

    Attributes:
        since_ns: Only lines that began then or later, nanoseconds since the epoch.
        until_ns: Only lines that began before that.
    """

    since_ns: int = 0
    until_ns: int = _FOREVER

    @classmethod
    def of(cls, since_wall: float | None, until_wall: float | None) -> "Span":
        """Return the span between two instants, seconds since the epoch; None: no bound."""
        return cls(
            0 if since_wall is None else int(since_wall * 1e9),
            _FOREVER if until_wall is None else int(until_wall * 1e9),
        )

    def holds(self, at_ns: int) -> bool:
        """Return whether an instant is in it; one that is unknown (0) is in the unbounded span alone."""
        return self.since_ns <= at_ns < self.until_ns and (at_ns > 0 or self == ALWAYS)


ALWAYS = Span()
"""From the first line to the last, those of unknown time included."""


def scan_lines(
    path: str, span: Span, *, needle: Pattern | None = None, go_on: Callable[[], bool] = lambda: True
) -> Iterator[LogLine]:
    """Yield the lines of a log in the order of their last bytes.

    Args:
        path: The log file; its rotated segments are found beside it. None of them has to exist.
        span: Only lines that began in it.
        needle: Lines in which it is not found may be left out: a help to be fast, not a promise.
        go_on: Asked once a block; False: stop here.

    Raises:
        OSError: A file of the log exists and cannot be read.
    """
    scan = _Scan(span, needle, go_on)
    current = open_current(path)
    try:
        for segment in list_segments(path):
            if 0 < stamp_wall(segment.stamp) * 1e9 < span.since_ns:
                continue  # rotated before, so all of it is older
            yield from scan.rotated(segment.path, current)
        if current is not None:
            yield from scan.read(current, _plain_blocks(current))
    finally:
        if current is not None:
            current.close()
    yield from scan.end()


class _Scan:
    """The state that goes from segment to segment."""

    def __init__(self, span: Span, needle: Pattern | None, go_on: Callable[[], bool]) -> None:
        self._span = span
        self._go_on = go_on
        self._quick = None if needle is None else for_many_lines(needle)
        self._lines = ForwardAssembler()

    def rotated(self, path: str, current: OpenSegment | None) -> Iterator[LogLine]:
        """Read a rotated segment, unless it is gone, or is the current one, rotated meanwhile."""
        segment = open_index_of(path)
        if segment is None:
            return
        with closing(segment):
            is_current = current is not None and segment.identity == current.identity
            if not is_current and self._may_hold(segment):
                packed = segment.is_packed
                yield from self.read(segment, _packed_blocks(path) if packed else _plain_blocks(segment))

    def read(self, segment: OpenSegment, blocks: Callable[[int], Iterator[bytes]]) -> Iterator[LogLine]:
        """Read a segment from where it may be of interest to its end."""
        offset = start = self._start(segment)
        records = _records(segment, segment.first_record_at(start))
        before, _ = segment.records_between(start, start)
        record, coming = before, next(records, None)
        for block in blocks(start):
            if not self._go_on():
                return
            end, at = offset + len(block), offset
            while coming is not None and coming.offset < end:
                yield from self._feed(record, block[at - offset : coming.offset - offset])
                at, record = max(at, coming.offset), coming
                yield from self._apply(record)
                coming = next(records, None)
            yield from self._feed(record, block[at - offset :])
            offset = end
        while coming is not None and coming.offset <= offset:
            yield from self._apply(coming)
            coming = next(records, None)

    def end(self) -> Iterator[LogLine]:
        """Yield what was never finished."""
        yield from self._wanted(self._lines.end(None))

    def _may_hold(self, segment: OpenSegment) -> bool:
        if self._span == ALWAYS:
            return True
        first = next(iter(segment.records(0, 1)), None)
        return first is not None and first.time_ns < self._span.until_ns

    def _start(self, segment: OpenSegment) -> int:
        """Return the offset before which no line of the span begins or goes on."""
        if not self._span.since_ns:
            return 0
        for record in _records(segment, 0):
            if record.time_ns >= self._span.since_ns:
                return max(0, record.offset - LOOKBACK)
        # The last record may be followed by a little that came after it.
        return max(0, segment.size() - LOOKBACK) if not segment.is_packed else 0

    def _apply(self, record: Record) -> Iterator[LogLine]:
        if record.flags & Flag.DROPPED:
            yield from self._wanted(self._lines.end(None))
        if record.flags & Flag.END:
            yield from self._wanted(self._lines.end((record.stream, record.run)))

    def _feed(self, record: Record | None, data: bytes) -> Iterator[LogLine]:
        if not data:
            return
        source, at_ns = record_source(record)
        if self._is_dull(source, at_ns, data):
            first, last = data.find(b"\n") + 1, data.rfind(b"\n") + 1
            # Only a line that began before, and the one that goes on behind, may be of interest.
            yield from self._wanted(self._lines.feed(source, at_ns, data[:first]))
            data = data[last:]
        yield from self._wanted(self._lines.feed(source, at_ns, data))

    def _is_dull(self, source: Source, at_ns: int, data: bytes) -> bool:
        """Return whether no line that begins and ends in these bytes is wanted."""
        if b"\n" not in data:
            return False
        if not self._span.holds(at_ns):
            return True
        return self._quick is not None and not source[0] & ENVELOPED and not self._quick.search(data)

    def _wanted(self, lines: list[LogLine]) -> Iterator[LogLine]:
        for line in lines:
            if self._span.holds(round(line.at_wall * 1e9)):
                yield line


def _records(segment: OpenSegment, first: int) -> Iterator[Record]:
    count = segment.record_count()
    for at in range(first, count, _RECORDS):
        yield from segment.records(at, min(count, at + _RECORDS))


def _plain_blocks(segment: OpenSegment) -> Callable[[int], Iterator[bytes]]:
    def blocks(start: int) -> Iterator[bytes]:
        at, size = start, segment.size()
        while at < size and (block := segment.read(at, min(_BLOCK, size - at))):
            yield block
            at += len(block)

    return blocks


def _packed_blocks(path: str) -> Callable[[int], Iterator[bytes]]:
    def blocks(start: int) -> Iterator[bytes]:
        skip = start
        # A damaged pack still gives what comes before the damage; one that is gone has nothing to give.
        damage = suppress(EOFError, zlib.error, gzip.BadGzipFile, FileNotFoundError)
        with damage, gzip.open(os.fspath(path + GZIP_SUFFIX)) as packed:
            while block := packed.read1(_BLOCK):
                kept = block[skip:]
                skip = max(0, skip - len(block))
                if kept:
                    yield kept

    return blocks
