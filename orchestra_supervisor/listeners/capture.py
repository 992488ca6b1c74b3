"""What one stream of a process makes happen: its output as it comes, and what stands between two marks.

Held to supervisord's way of doing it, corners included: with marks looked for, up to 24 bytes wait until
more comes, and what waits when the process ends is nobody's.

Source: supervisor 4.3, `dispatchers.py` (POutputDispatcher), `loggers.py` (BoundIO).
"""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BEGIN", "END", "Capture", "Part"]

BEGIN = b"<!--XSUPERVISOR:BEGIN-->"
END = b"<!--XSUPERVISOR:END-->"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of output: `is_word` where it stood between the marks, all of it."""

    is_word: bool
    data: bytes


@dataclass(slots=True)
class Capture:
    """One stream of one run.

    Attributes:
        limit: Bytes between marks that are kept, the newest; 0: marks are not looked for.
        buffer: What was not looked at yet.
        is_inside: Behind a first mark.
        word: What stood behind it so far.
    """

    limit: int
    buffer: bytes = b""
    is_inside: bool = False
    word: bytes = b""

    def feed(self, data: bytes) -> Iterator[Part]:
        """Take output; yield each piece as it is understood."""
        if not self.limit:
            if data:
                yield Part(is_word=False, data=data)
            return
        self.buffer += data
        while True:
            mark = END if self.is_inside else BEGIN
            if len(self.buffer) <= len(mark):
                return
            before, found, after = self.buffer.partition(mark)
            if not found:
                kept = _prefix_at_end(self.buffer, mark)
                before, self.buffer = (
                    self.buffer[: len(self.buffer) - kept],
                    self.buffer[-kept:] if kept else b"",
                )
                yield from self._pass(before)
                return
            yield from self._pass(before)
            self.buffer = after
            self.is_inside = not self.is_inside
            if not self.is_inside:
                word, self.word = self.word, b""
                yield Part(is_word=True, data=word)
            if not after:
                return

    def _pass(self, data: bytes) -> Iterator[Part]:
        if not data:
            return
        if self.is_inside:
            if len(self.word) + len(data) > self.limit:
                self.word = self.word[len(data) :]
            self.word += data
        yield Part(is_word=False, data=data)


def _prefix_at_end(data: bytes, mark: bytes) -> int:
    """Return how many bytes at the end of `data` begin the mark."""
    length = len(mark) - 1
    while length and not data.endswith(mark[:length]):
        length -= 1
    return length
