"""The output of a service as it comes, out of its log: which run and stream each piece is of.

Nothing is held open between two reads; a place in a log is a segment's id and an offset, so that whoever
comes next goes on where the last one stopped.
"""

from collections.abc import Container
from contextlib import closing
from dataclasses import dataclass

from orchestra_supervisor.logfile.envelope import ENVELOPED, open_envelope
from orchestra_supervisor.logfile.index import STREAM_NAMES, Flag, Record
from orchestra_supervisor.logfile.open_segment import OpenSegment, open_current, open_segment
from orchestra_supervisor.logfile.segments import list_segments, segment_id_of

__all__ = ["Follower", "Piece", "Place"]

_STEP = 1024 * 1024  # bytes of the log that one read goes on by
_PIECE = 128 * 1024  # bytes of one event at most, as supervisord reads


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next read begins: offset `position` of a segment."""

    segment: int
    position: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of output, or with `is_end` that a stream of a run has ended.

    Attributes:
        run: Number of the run, see `logfile.index.run_number`.
        stream: `stdout` or `stderr`.
        data: The bytes.
        is_end: Nothing of this stream follows.
    """

    run: int
    stream: str
    data: bytes = b""
    is_end: bool = False


class Follower:
    """Reads one log on from a place, across rotation.

    Args:
        path: The log, which need not exist.
        place: Where the last one stopped, or None: `begin` says where.
    """

    def __init__(self, path: str, place: Place | None = None) -> None:
        self.path = path
        self.place = place
        self.waits_for: int | None = None
        """A run whose output stands next, and that nobody has told of yet: nothing is read until then."""
        self._first_run: int | None = None
        self._searched = (0, -1)

    def begin(self, run: int) -> None:
        """Go by what comes from this run on, unless there is a place already."""
        if self.place is None and self._first_run is None:
            self._first_run = run

    def begin_at_end(self) -> None:
        """Go by what comes from now on, unless there is a place already.

        Raises:
            OSError: The log exists and cannot be read.
        """
        current = open_current(self.path) if self.place is None else None
        if current is not None:
            with closing(current):
                if current.segment_id is not None:
                    self.place = Place(current.segment_id, current.size())

    def read(self, known: Container[int]) -> list[Piece]:
        """Return what has come since, 1 MiB of the log at most.

        Args:
            known: Numbers of runs: where the output of another one begins, reading stops.

        Raises:
            OSError: The log exists and cannot be read.
        """
        self.waits_for = None
        current = open_current(self.path)
        if current is None:
            return []
        with closing(current):
            if current.segment_id is None:
                return []
            if self.place is None and not self._find(current, current.segment_id):
                return []
            assert self.place is not None, "it was found"
            if self.place.segment == current.segment_id:
                return self._read(current, known)
            rotated = self._rotated(self.place.segment, current.segment_id)
            if rotated is None:
                self.place = Place(current.segment_id, 0)
                return self._read(current, known)
        with closing(rotated):
            number = rotated.segment_id or 0
            if number != self.place.segment:
                self.place = Place(number, 0)
            pieces = self._read(rotated, known)
            if self.place.position >= rotated.size():  # nothing is added to what has been rotated
                self.place = Place(number + 1, 0)
            return pieces

    def _find(self, current: OpenSegment, segment_id: int) -> bool:
        """Find the first record of the run that is waited for; only where there are new records."""
        count = current.record_count()
        if self._first_run is None or self._searched == (segment_id, count):
            return False
        self._searched = (segment_id, count)
        found = current.first_record_of(self._first_run)
        if found is not None:
            self.place = Place(segment_id, found[1].offset)
        return found is not None

    def _rotated(self, after: int, before: int) -> OpenSegment | None:
        """Open the rotated segment of the place, or the next one that is there."""
        numbered = [(segment_id_of(each.path) or 0, each) for each in list_segments(self.path)]
        for number, each in sorted(numbered, key=lambda pair: pair[0]):
            if after <= number < before:
                opened = open_segment(each)
                if opened is not None:
                    return opened
        return None

    def _read(self, segment: OpenSegment, known: Container[int]) -> list[Piece]:
        assert self.place is not None, "a place to read from"
        number, start = self.place.segment, self.place.position
        size = segment.size()
        if size < start:  # truncated in place: what is there now is new
            start = 0
        end = min(size, start + _STEP)
        # A record of the very end may be followed by others there; each is met once all the same: those that
        # say that a stream has ended are told twice at most, and mean no more then.
        before, records = segment.records_between(start, end + 1)
        pieces: list[Piece] = []
        at, record = start, before
        for following in [*records, None]:
            until = end if following is None else max(at, min(following.offset, end))
            at = self._pass(segment, record, at, until, pieces)
            if at < until:
                break  # the rest is half of an object
            if (
                following is not None
                and following.run
                and following.run not in known
                and following.offset <= end
            ):
                self.waits_for = following.run
                break
            record = following
            if following is not None and following.flags & Flag.END and following.offset <= end:
                pieces.append(Piece(following.run, _stream(following), is_end=True))
        self.place = Place(number, at)
        return pieces

    def _pass(
        self, segment: OpenSegment, record: Record | None, start: int, end: int, pieces: list[Piece]
    ) -> int:
        """Add what stands between two offsets; return how far it was understood."""
        if record is None or not record.run or not _stream(record):
            return end
        is_enveloped = bool(record.stream & ENVELOPED)
        while start < end:
            data = segment.read(start, min(_PIECE, end - start))
            if is_enveloped:
                taken, data = _opened(data)
                if not taken and end - start > _PIECE:
                    taken = len(data) or _PIECE  # no object is so long: passed over
            else:
                taken = len(data)
            if data:
                pieces.append(Piece(record.run, _stream(record), data))
            if not taken:
                break
            start += taken
        return start


def _stream(record: Record) -> str:
    code = record.stream & ~ENVELOPED
    return STREAM_NAMES[code] if code < len(STREAM_NAMES) else ""


def _opened(data: bytes) -> tuple[int, bytes]:
    """Return how many bytes of objects are whole, and the lines in them."""
    whole = data[: data.rfind(b"\n") + 1]
    lines: list[bytes] = []
    for line in whole.splitlines(keepends=True):
        found = open_envelope(line)
        if found is not None:
            lines.append(found[0] + (b"\n" if found[1] else b""))
    return len(whole), b"".join(lines)
