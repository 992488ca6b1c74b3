"""Bytes of a log put together to lines again, per stream and run.

Two streams may interleave in the middle of a line; a line belongs to one stream of one run. Its
time is that of its first byte, its place in the order is that of its last byte.
"""

from dataclasses import dataclass

from orchestra_supervisor.logfile.envelope import ENVELOPED, open_envelope
from orchestra_supervisor.logfile.index import STREAM_NAMES, run_text

__all__ = ["MAX_LINE", "BackwardAssembler", "ForwardAssembler", "Found", "LogLine", "Source"]

MAX_LINE = 1024 * 1024
"""Bytes; a longer line is handed out in parts, all but the one that has its end marked incomplete."""

Source = tuple[int, int]
"""Stream code and run number: whose line it is."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Attributes:
        at_wall: Seconds since the epoch when its first byte was read from the service; 0: unknown.
        stream: `stdout`, `stderr`, or empty: unknown.
        run: The 12 hex digits at the end of the run id, or empty: unknown.
        data: Its bytes, without the newline. Not necessarily UTF-8.
        complete: False when no newline follows: the stream ended or goes on, bytes were dropped
            here, or the line was longer than `MAX_LINE` and this is not its last part.
    """

    at_wall: float
    stream: str
    run: str
    data: bytes
    complete: bool


def _line(source: Source, at_ns: int, data: bytes, *, complete: bool) -> LogLine:
    code = source[0] & ~ENVELOPED
    stream = STREAM_NAMES[code] if code < len(STREAM_NAMES) else ""
    if source[0] & ENVELOPED and (inside := open_envelope(data)) is not None:
        data, complete = inside
    return LogLine(at_ns / 1e9, stream, run_text(source[1]), data, complete)


@dataclass(slots=True)
class _Beginning:
    """A line whose end has not come yet."""

    at_ns: int
    parts: list[bytes]
    size: int


class ForwardAssembler:
    """Lines in the order of their ends, from bytes in the order of the file."""

    def __init__(self) -> None:
        self._open: dict[Source, _Beginning] = {}

    def begin(self, source: Source, at_ns: int, data: bytes) -> None:
        """Take over a line that was begun elsewhere."""
        self._open[source] = _Beginning(at_ns, [data], len(data))

    def feed(self, source: Source, at_ns: int, data: bytes) -> list[LogLine]:
        """Take the next bytes of one source and return the lines that end in them.

        Args:
            source: Whose bytes they are.
            at_ns: When they came, nanoseconds since the epoch.
            data: The bytes.
        """
        lines: list[LogLine] = []
        pieces = data.split(b"\n")
        last = len(pieces) - 1
        for number, piece in enumerate(pieces):
            begun = self._open.pop(source, None)
            if begun is None:
                begun = _Beginning(at_ns, [piece], len(piece))
            else:
                begun.parts.append(piece)
                begun.size += len(piece)
            text = b""
            if begun.size > MAX_LINE:
                text = b"".join(begun.parts)
                while len(text) > MAX_LINE:
                    lines.append(_line(source, begun.at_ns, text[:MAX_LINE], complete=False))
                    text = text[MAX_LINE:]
                begun = _Beginning(at_ns, [text], len(text))
            if number < last:
                lines.append(_line(source, begun.at_ns, text or b"".join(begun.parts), complete=True))
            elif begun.size:
                self._open[source] = begun
        return lines

    def end(self, source: Source | None) -> list[LogLine]:
        """Give up waiting for the end of a source's line (None: of every line begun) and return it."""
        sources = list(self._open) if source is None else [source]
        lines: list[LogLine] = []
        for key in sources:
            begun = self._open.pop(key, None)
            if begun is not None:
                lines.append(_line(key, begun.at_ns, b"".join(begun.parts), complete=False))
        return lines


@dataclass(frozen=True, slots=True)
class Found:
    """A line found while reading backwards.

    Attributes:
        order: Position of its last byte (newline included), counted from the end of the log: negative.
        source: Whose it is.
        at_ns: Time of its first byte.
        line: The line.
        is_open: It is the last of its source, has no end, and may still be continued.
    """

    order: int
    source: Source
    at_ns: int
    line: LogLine
    is_open: bool


@dataclass(slots=True)
class _Ending:
    """A line whose beginning has not been reached yet."""

    order: int
    at_ns: int
    left: int
    complete: bool
    is_open: bool
    parts: list[bytes]
    size: int = 0

    def add(self, piece: bytes, at_ns: int, left: int) -> None:
        self.parts.append(piece)
        self.size += len(piece)
        self.at_ns = at_ns
        self.left = left


class BackwardAssembler:
    """Lines, the newest first, from bytes in the reverse order of the file.

    Positions are counted from the end of the log: the last byte of all is at -1.
    """

    def __init__(self) -> None:
        self._open: dict[Source, _Ending] = {}
        self._ended: set[Source] = set()
        self._all_ended = False

    def feed(self, source: Source, at_ns: int, data: bytes, start: int) -> list[Found]:
        """Take bytes that lie before all those taken so far; return the lines that begin in or after them.

        Args:
            source: Whose bytes they are.
            at_ns: When they came, nanoseconds since the epoch.
            data: The bytes, at least one.
            start: Position of the first of them.
        """
        found: list[Found] = []
        ending = self._open.pop(source, None)
        end = len(data)
        if ending is None:
            is_open = not self._all_ended and source not in self._ended
            ending = _Ending(start + end - 1, at_ns, start + end, complete=False, is_open=is_open, parts=[])
            self._ended.add(source)
        while True:
            newline = data.rfind(b"\n", 0, end)
            while end - (newline + 1) + ending.size > MAX_LINE:
                cut = end - (MAX_LINE - ending.size)
                ending.add(data[cut:end], at_ns, start + cut)
                found += self._finish(source, ending)
                ending = _Ending(start + cut - 1, at_ns, start + cut, complete=False, is_open=False, parts=[])
                end = cut
            if newline + 1 < end:
                ending.add(data[newline + 1 : end], at_ns, start + newline + 1)
            if newline < 0:
                break
            found += self._finish(source, ending)
            at = start + newline
            ending = _Ending(at, at_ns, at, complete=True, is_open=False, parts=[])
            end = newline
        if ending.size or ending.complete:
            self._open[source] = ending
        return found

    def cut(self) -> list[Found]:
        """No line goes on over this position: return those that begin at it."""
        self._all_ended = True
        return self.finish()

    def ended(self, source: Source) -> None:
        """What comes before this position is the whole of a source: its last line will not be continued."""
        self._ended.add(source)

    def finish(self) -> list[Found]:
        """Return every line whose beginning was not reached as what there is of it."""
        found: list[Found] = []
        for source, ending in self._open.items():
            found += self._finish(source, ending)
        self._open.clear()
        return found

    def pending(self, newest: int, since_ns: int) -> list[int]:
        """Return the leftmost positions of lines whose beginning is still wanted.

        Args:
            newest: Lines that end before this position are not wanted.
            since_ns: Nor are lines that are older than this already.
        """
        return [
            ending.left
            for ending in self._open.values()
            if ending.is_open or (ending.order >= newest and ending.at_ns >= since_ns)
        ]

    def _finish(self, source: Source, ending: _Ending) -> list[Found]:
        if not ending.size and not ending.complete:
            return []
        ending.parts.reverse()
        line = _line(source, ending.at_ns, b"".join(ending.parts), complete=ending.complete)
        return [Found(ending.order, source, ending.at_ns, line, ending.is_open)]
