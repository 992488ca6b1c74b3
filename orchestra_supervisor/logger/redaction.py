"""What must not be written: patterns, and the values of secrets.

A line is looked at as a whole. Only of lines that are longer than what a pipe holds, parts are looked at,
which overlap, so that what lies across their border is found as well.
"""

import re
from collections.abc import Iterable

from orchestra_supervisor.logfile.many_lines import for_many_lines

__all__ = ["MARK", "MIN_SECRET", "NOTHING", "OVERLAP", "Redactor", "secret_parts"]

MARK = b"[redacted]"
MIN_SECRET = 4
"""Bytes; a shorter secret is not replaced: it would be found everywhere."""
OVERLAP = 4096
"""Bytes of a part of a long line that are looked at again with the next part."""

_MIN_LINE = 8  # bytes; a line of a secret of several lines is replaced from this length on


class Redactor:
    """Replaces matches in lines.

    Args:
        patterns: Each match of one of them is replaced.
        secrets: So is each of these texts.
    """

    def __init__(self, patterns: Iterable[re.Pattern[bytes]] = (), secrets: Iterable[bytes] = ()) -> None:
        self._patterns = list(patterns)
        parts = sorted({part for secret in secrets for part in secret_parts(secret)}, key=len, reverse=True)
        if parts:
            self._patterns.append(re.compile(b"|".join(re.escape(part) for part in parts)))
        self._quick = [for_many_lines(pattern) for pattern in self._patterns]

    @property
    def is_idle(self) -> bool:
        """True when there is nothing to look for."""
        return not self._patterns

    def redact(self, data: bytes) -> bytes:
        """Return a line with its matches replaced."""
        for pattern in self._patterns:
            if pattern.search(data):
                return _replace(data, self._spans(data))
        return data

    def redact_lines(self, block: bytes) -> bytes:
        """Return a block of whole lines with the matches in each replaced."""
        for quick in self._quick:
            if quick is None or quick.search(block):
                return b"\n".join(self.redact(line) for line in block.split(b"\n"))
        return block

    def redact_part(self, data: bytes) -> tuple[bytes, int]:
        """Replace matches in a part of a line whose rest is to come.

        Returns:
            What may be written, and of how many bytes that is the replacement. The others must be handed
            in again, with what follows them.
        """
        cut = max(1, len(data) - OVERLAP) if self._patterns else len(data)
        spans = self._spans(data)
        for start, end in reversed(spans):
            if start < cut < end:
                cut = start or end  # a match as long as all of it cannot wait any longer
        return _replace(data[:cut], [span for span in spans if span[0] < cut]), cut

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """Return where something has to be replaced: in order, none touching another."""
        found = sorted(
            match.span() for pattern in self._patterns for match in pattern.finditer(data) if match.group()
        )
        merged: list[tuple[int, int]] = []
        for start, end in found:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def secret_parts(secret: bytes) -> list[bytes]:
    """Return what is looked for to find a secret in lines: itself, or its lines where it has several."""
    lines = secret.splitlines()
    if len(lines) > 1:
        return [line.strip() for line in lines if len(line.strip()) >= _MIN_LINE]
    return [line for line in lines if len(line) >= MIN_SECRET]


def _replace(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    parts: list[bytes] = []
    done = 0
    for start, end in spans:
        parts += (data[done:start], MARK)
        done = end
    return b"".join((*parts, data[done:])) if spans else data


NOTHING = Redactor()
"""Replaces nothing."""
