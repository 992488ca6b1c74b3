"""The lines of one run as they come, from its first one on, across rotation.

Between two reads nothing is held open: a place in a log is a segment's id and an offset. So a thousand
services that are waited for cost no descriptors, and a reader that is no longer wanted is simply dropped.
"""

from contextlib import closing
from dataclasses import dataclass

from orchestra_supervisor.logfile.index import Flag, Record, run_number
from orchestra_supervisor.logfile.lines import ForwardAssembler, LogLine
from orchestra_supervisor.logfile.open_segment import OpenSegment, open_current, open_index_of, open_segment
from orchestra_supervisor.logfile.reader import record_source
from orchestra_supervisor.logfile.segments import list_segments, segment_id_of

__all__ = ["RunLines"]

_STEP = 1024 * 1024  # bytes of the log that one read goes on by
_ROTATED_STEP = 16 * 1024 * 1024  # likewise in a rotated segment, which may have to be unpacked for each read
_BLOCK = 1024 * 1024
_RECORDS = 8192


@dataclass(slots=True)
class _Place:
    """Where the next read begins.

    Attributes:
        segment_id: In which segment; when it is gone, in the oldest after it.
        position: Offset of the first byte that has not been read.
        next_record: Number of the first record that has not been read.
        record: The record in force at the position, or None: the bytes are not of the run.
    """

    segment_id: int
    position: int = 0
    next_record: int = 0
    record: Record | None = None


class RunLines:
    """Hands out the lines of one run, each once.

    A last line without newline is held back until its newline comes, its stream ends, or bytes were dropped
    behind it. Lines of a segment whose index is lost are nobody's, and left out.

    Args:
        path: The log file, which need not exist yet.
        run: Run id.

    Attributes:
        is_at_end: The last read has come to the end of the log as it was.
    """

    def __init__(self, path: str, run: str) -> None:
        self._path = path
        self._run = run_number(run)
        self._lines = ForwardAssembler()
        self._place: _Place | None = None
        self.is_at_end = False

    def read(self) -> list[LogLine]:
        """Return the lines that end in the next part of the log; none where nothing is new.

        Raises:
            OSError: A file of the log exists and cannot be read.
        """
        self.is_at_end = True
        current = open_current(self._path)
        if current is None:  # nothing has been written yet, or it is being rotated
            return []
        with closing(current):
            if current.segment_id is None or not self._run:
                return []
            if self._place is None:
                self._place = self._beginning(current, current.segment_id)
            segment = self._open(self._place, current)
            if segment is None:
                return self._read(current, self._placed(current.segment_id), _STEP)
            with closing(segment):
                place = self._placed(segment.segment_id or 0)
                lines = self._read(segment, place, _ROTATED_STEP)
            if self.is_at_end:  # nothing is added to what has been rotated
                self._place = _Place(place.segment_id + 1)
                self.is_at_end = False
            return lines

    def _beginning(self, current: OpenSegment, current_id: int) -> _Place:
        """Find the run's first record: in the current segment, or in rotated ones without a gap before it."""
        end, count = current.size(), current.record_count()  # what comes later is behind these
        first = current.first_record_of(self._run)
        place = _Place(current_id, end, count) if first is None else _at(current_id, *first)
        for rotated in reversed(list_segments(self._path)):
            older = open_index_of(rotated.path)
            if older is None:
                continue
            with closing(older):
                if older.segment_id is None or older.segment_id >= current_id:
                    continue
                first = older.first_record_of(self._run)
                if first is None:
                    break
                place = _at(older.segment_id, *first)
        return place

    def _open(self, place: _Place, current: OpenSegment) -> OpenSegment | None:
        """Open the rotated segment of a place, or the next that is there; None: the current one is."""
        current_id = current.segment_id or 0
        if place.segment_id == current_id:
            return None
        numbered = [(segment_id_of(each.path) or 0, each) for each in list_segments(self._path)]
        for number, rotated in sorted(numbered, key=lambda pair: pair[0]):
            if place.segment_id <= number < current_id:
                opened = open_segment(rotated)
                if opened is not None and opened.segment_id == number:
                    return opened
                if opened is not None:
                    opened.close()
        return None

    def _placed(self, segment_id: int) -> _Place:
        """Return the place in a segment: where the last read ended, or its beginning."""
        if self._place is None or self._place.segment_id != segment_id:
            self._place = _Place(segment_id)
        return self._place

    def _read(self, segment: OpenSegment, place: _Place, budget: int) -> list[LogLine]:
        size = segment.size()
        lines: list[LogLine] = []
        if size < place.position:  # truncated in place: what is there now is new
            lines += self._lines.end(None)
            place.position, place.next_record, place.record = 0, 0, None
        end = min(size, place.position + budget)
        count = segment.record_count()  # asked after the size: a record comes before the bytes it speaks of
        if count < place.next_record:  # cut by a recovery
            place.next_record = segment.first_record_at(place.position + 1)
            place.record, _ = segment.records_between(place.position + 1, place.position + 1)
        until = min(count, segment.first_record_at(end + 1))
        for first in range(place.next_record, until, _RECORDS):
            for record in segment.records(first, min(until, first + _RECORDS)):
                lines += self._feed(segment, place, record.offset)
                lines += self._apply(place, record)
        place.next_record = max(until, place.next_record)
        lines += self._feed(segment, place, end)
        self.is_at_end = end == size
        return lines

    def _apply(self, place: _Place, record: Record) -> list[LogLine]:
        place.record = record
        if record.flags & Flag.DROPPED:
            return self._lines.end(None)
        if record.flags & Flag.END and record.run == self._run:
            return self._lines.end((record.stream, record.run))
        return []

    def _feed(self, segment: OpenSegment, place: _Place, end: int) -> list[LogLine]:
        if place.record is None or place.record.run != self._run:
            place.position = max(place.position, end)
            return []
        source, at_ns = record_source(place.record)
        lines: list[LogLine] = []
        while place.position < end:
            data = segment.read(place.position, min(_BLOCK, end - place.position))
            if not data:
                break
            place.position += len(data)
            lines += self._lines.feed(source, at_ns, data)
        return lines


def _at(segment_id: int, number: int, record: Record) -> _Place:
    return _Place(segment_id, record.offset, number)
