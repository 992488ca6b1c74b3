"""Lines that are looked at on their way: redacted, limited, wrapped.

They are written before they are taken from the pipe, so that a logger that is killed at any instant has lost
none; those of its last turn may then be written once more (ADR-0009). An unfinished line stays
in the pipe for `PATIENCE` at most.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestra_supervisor.logfile.envelope import ENVELOPED, encode_envelope
from orchestra_supervisor.logger.copies import Copies
from orchestra_supervisor.logger.destinations import Entry
from orchestra_supervisor.logger.drops import Drops
from orchestra_supervisor.logger.limit import Gap, RateLimiter
from orchestra_supervisor.logger.logfile import LogFile
from orchestra_supervisor.logger.options import Treatment
from orchestra_supervisor.logger.pipe import WINDOW, Peeker, Pipe
from orchestra_supervisor.logger.relay import Relays
from orchestra_supervisor.logger.timers import Timers

__all__ = ["PATIENCE", "Line", "Lines", "LinesAround"]

PATIENCE = 1.0
"""Seconds that a line without an end waits in its pipe before what there is of it is written."""

_LONG = (
    WINDOW // 2
)  # bytes without a newline that are a part of a long line: a pipe must not run full of them
_FIRST_PAUSE = 0.001  # seconds until an unfinished line is looked at again; doubles
_LONGEST_PAUSE = 0.05
_BLOCK_REPORT = 60.0  # seconds between two reports that a service is held up
_RETRY = 1.0  # seconds until a gap that could not be written is tried again
_OURS = 0  # stream of our own lines


class Line(NamedTuple):
    """One line as it was written, or a part of one.

    Attributes:
        data: Its bytes, redacted, without the newline.
        is_complete: A newline followed.
    """

    data: bytes
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class LinesAround:
    """What the lines of a log need of their surroundings.

    Attributes:
        timers: For gaps and reports.
        peeker: Looks into pipes.
        pause: Do not look at a pipe for so many seconds.
        event: Tell the keeper: kind and the keys it carries.
        relays: Send lines further.
        copies: Write bytes to further files.
    """

    timers: Timers
    peeker: Peeker
    pause: Callable[[Pipe, float], None]
    event: Callable[[str, dict[str, object]], None]
    relays: Relays
    copies: Copies


@dataclass(slots=True)
class _Batch:
    """What one turn makes of a window."""

    taken: int = 0
    parts: list[tuple[int, list[bytes]]] = field(default_factory=list[tuple[int, list[bytes]]])
    lines: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    copied: list[bytes] = field(default_factory=list[bytes])
    """The same as in `parts`, never wrapped."""
    gap: Gap = field(default_factory=Gap)
    left_out: int = 0

    def put(self, stream: int, data: bytes) -> None:
        """Have bytes of a stream written after what is there already."""
        if not self.parts or self.parts[-1][0] != stream:
            self.parts.append((stream, []))
        self.parts[-1][1].append(data)

    def chunks(self) -> list[tuple[int, bytes]]:
        """Return what is to be written, in as few pieces as there are changes of the stream."""
        return [(stream, b"".join(pieces)) for stream, pieces in self.parts]


class Lines:
    """Moves lines from pipes to one log.

    Args:
        log: The log.
        treatment: What is done to lines.
        around: The surroundings.
    """

    def __init__(self, log: LogFile, treatment: Treatment, around: LinesAround) -> None:
        self.is_hurried = False
        """Unfinished lines are not waited for: this is the end."""
        self._log = log
        self._around = around
        self._treatment = treatment
        self._limiter = RateLimiter(treatment.limit) if treatment.limit else None
        self._gap = Gap()
        self._gap_of: Pipe | None = None
        self._untold_lines = 0
        self._now_wall = 0.0  # of the present turn: one time for all its lines
        self._drops = Drops(around.timers, self._tell_limited)
        self._block_told = float("-inf")
        self._is_gap_planned = False

    def configure(self, treatment: Treatment) -> None:
        """Treat lines otherwise from here on."""
        if treatment.limit != self._treatment.limit:
            self._show_gap()  # lines may come another way from now on
            self._limiter = RateLimiter(treatment.limit) if treatment.limit else None
        self._treatment = treatment

    @property
    def is_done(self) -> bool:
        """True when nothing has to be told any more."""
        return not self._drops.unreported

    def report(self) -> None:
        """Tell now what has not been told."""
        self._drops.report()

    def move(self, pipe: Pipe, flags: int) -> int:
        """Write the lines that a pipe holds, one window of it, and take them out.

        Returns:
            How many bytes have left the pipe; 0: it is at its end.

        Raises:
            BlockingIOError: There is nothing to be written now.
            OSError: The log cannot be written. All is still in the pipe.
        """
        window = self._around.peeker.peek(pipe)
        if not window:
            return 0
        self._now_wall = time.time()
        batch = _Batch(gap=Gap(self._gap.lines, self._gap.size, self._gap.since_wall))
        end = window.rfind(b"\n") + 1
        if end and self._treatment.is_plain:
            batch.taken = end
            batch.put(pipe.code, pipe.redactor.redact_lines(window[:end]))
            batch.copied.append(batch.parts[-1][1][-1])
        elif end:
            for line in window[: end - 1].split(b"\n"):
                if not self._add(pipe, batch, Line(pipe.redactor.redact(line)), len(line) + 1):
                    break
        else:
            part, size = self._part(pipe, window)
            self._add(pipe, batch, Line(part, is_complete=False), size)
        if not batch.taken:
            raise BlockingIOError
        if batch.parts:
            self._log.write(pipe.number, batch.chunks(), flags)
        self._around.peeker.take(pipe, batch.taken)
        pipe.unfinished_since = pipe.pause = 0.0
        self._commit(pipe, batch)
        return batch.taken

    def finish(self, pipe: Pipe) -> None:
        """A pipe is at its end: say what was left out of it.

        Raises:
            OSError: The log cannot be written.
        """
        if self._gap.lines and self._log.is_open:
            self._now_wall = time.time()
            self._log.write(pipe.number, [self._gap_line(pipe, self._gap)], 0)
            self._relay(pipe, [("", _gap_text(self._gap))])
            self._copy(pipe, [_gap_text(self._gap) + b"\n"])
            self._gap = Gap()
            self._drops.over()

    def _add(self, pipe: Pipe, batch: _Batch, line: Line, size: int) -> bool:
        """Add a line to what is written, or to what is left out; False: it has to wait in the pipe."""
        limiter = self._limiter
        if limiter is not None and not limiter.admit(size):
            if limiter.limit.is_blocking and not self.is_hurried:
                self._around.pause(pipe, max(_FIRST_PAUSE, limiter.reopens_in()))
                self._tell_blocked()
                return False
            batch.taken += size
            batch.left_out += size
            self._untold_lines += 1
            since = batch.gap.since_wall or time.time()
            batch.gap = Gap(batch.gap.lines + 1, batch.gap.size + size, since)
            return True
        if batch.gap.lines:
            batch.put(*self._gap_line(pipe, batch.gap))
            batch.lines.append(("", _gap_text(batch.gap)))
            batch.copied.append(_gap_text(batch.gap) + b"\n")
            batch.gap = Gap()
        batch.taken += size
        batch.put(self._code(pipe.code), self._wrap(pipe, pipe.stream, line))
        batch.lines.append((pipe.stream, line.data))
        batch.copied.append(line.data + b"\n" if line.is_complete else line.data)
        return True

    def _part(self, pipe: Pipe, window: bytes) -> tuple[bytes, int]:
        """Return what may be written of a line whose end is not there, and the number of its bytes.

        Raises:
            BlockingIOError: Its end is waited for; the pipe is looked at again by itself.
        """
        now = time.monotonic()
        if len(window) >= _LONG:
            return pipe.redactor.redact_part(window)
        pipe.unfinished_since = pipe.unfinished_since or now
        is_over = self.is_hurried or now - pipe.unfinished_since >= PATIENCE
        if not is_over and not (pipe.is_closed_by_writers() and self._is_all(pipe, window)):
            pipe.pause = min(_LONGEST_PAUSE, pipe.pause * 2) or _FIRST_PAUSE
            self._around.pause(pipe, pipe.pause)
            raise BlockingIOError
        return pipe.redactor.redact(window), len(window)

    @staticmethod
    def _is_all(pipe: Pipe, window: bytes) -> bool:
        return pipe.waiting() <= (0 if pipe.held else len(window))

    def _code(self, stream: int) -> int:
        return stream | ENVELOPED if self._treatment.is_json else stream

    def _wrap(self, pipe: Pipe, stream: str, line: Line) -> bytes:
        if not self._treatment.is_json:
            return line.data + b"\n" if line.is_complete else line.data
        return encode_envelope(
            service=pipe.slot,
            run=pipe.run,
            stream=stream,
            at_wall=self._now_wall,
            data=line.data,
            complete=line.is_complete,
        )

    def _gap_line(self, pipe: Pipe, gap: Gap) -> tuple[int, bytes]:
        return self._code(_OURS), self._wrap(pipe, "", Line(_gap_text(gap)))

    def _commit(self, pipe: Pipe, batch: _Batch) -> None:
        """What was decided has been written."""
        has_ended = self._gap.lines > 0 and not batch.gap.lines
        self._gap = batch.gap
        self._relay(pipe, batch.lines)
        self._copy(pipe, batch.copied)
        if batch.left_out:
            self._drops.add(batch.left_out)
        if has_ended:
            self._drops.over()
        if self._gap.lines:
            self._gap_of = pipe
            self._plan_gap(self._limiter.reopens_in() if self._limiter else 0.0)

    def _relay(self, pipe: Pipe, lines: list[tuple[str, bytes]]) -> None:
        """Send lines further, once they are in the file."""
        if not lines:
            return
        for route in self._treatment.sinks:
            entries = [
                Entry(pipe.slot, pipe.run, stream, data, self._now_wall)
                for stream, data in lines
                if route.takes(stream) and route.takes(pipe.stream)
            ]
            if entries:
                self._around.relays.put((route.destination,), entries)

    def _copy(self, pipe: Pipe, pieces: list[bytes]) -> None:
        """Write bytes to further files, once they are in the log."""
        for target in self._treatment.files if pieces else ():
            if target.takes(pipe.stream):
                self._around.copies.put(target, b"".join(pieces))

    def _plan_gap(self, delay: float) -> None:
        """Have the gap shown even if no line follows it."""
        if not self._is_gap_planned:
            self._is_gap_planned = True
            self._around.timers.after(delay + _FIRST_PAUSE, self._show_gap)

    def _show_gap(self) -> None:
        self._is_gap_planned = False
        if self._gap_of is None or not self._gap.lines or not self._log.is_open:
            return
        try:
            self.finish(self._gap_of)
        except OSError:
            self._plan_gap(_RETRY)

    def _tell_limited(self, size: int, since_wall: float) -> None:
        lines, self._untold_lines = self._untold_lines, 0
        facts = {"path": self._log.path, "bytes": size, "lines": lines, "since_wall": since_wall}
        self._around.event("limited", dict(facts))

    def _tell_blocked(self) -> None:
        now = time.monotonic()
        if now - self._block_told >= _BLOCK_REPORT:
            self._block_told = now
            facts: dict[str, object] = {"path": self._log.path, "bytes": 0, "lines": 0}
            self._around.event("limited", {**facts, "reason": "the service waits: on_limit is block"})


def _gap_text(gap: Gap) -> bytes:
    return b"orchestra: %d lines (%d bytes) left out here: over log.rate_limit" % (gap.lines, gap.size)
