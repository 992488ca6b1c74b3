"""How much a service may write in a time: a bucket of bytes that fills steadily."""

import time
from dataclasses import dataclass

__all__ = ["Gap", "RateLimit", "RateLimiter"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a service may write.

    Attributes:
        size: Bytes.
        per: Seconds in which so many may come, again and again.
        burst: Bytes that may come at once after a quiet spell.
        is_blocking: What is over waits in the pipe, and the service with it; else it is left out.
    """

    size: int
    per: float
    burst: int
    is_blocking: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """What has been left out since the last line that was let through.

    Attributes:
        lines: How many.
        size: Their bytes.
        since_wall: When the first of them was left out, seconds since the epoch.
    """

    lines: int = 0
    size: int = 0
    since_wall: float = 0.0


class RateLimiter:
    """Says which lines are let through.

    Once a line was too much, none is let through until the bucket is half full again: the log has a few
    long gaps, not one after every other line.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._level = float(limit.burst)
        self._at = time.monotonic()
        self._reopen_at = 0.0  # bytes; 0: it is open

    def admit(self, size: int) -> bool:
        """Return whether a line of so many bytes is let through, and take it into account."""
        self._fill()
        wanted = min(float(size), float(self.limit.burst))  # a larger line has to find the bucket full
        if self._level < max(wanted, self._reopen_at):
            self._reopen_at = max(wanted, self._reopen_at, self.limit.burst / 2)
            return False
        self._reopen_at = 0.0
        self._level -= size
        return True

    def reopens_in(self) -> float:
        """Return the seconds until lines may be let through again."""
        self._fill()
        return max(0.0, self._reopen_at - self._level) * self.limit.per / self.limit.size

    def _fill(self) -> None:
        now = time.monotonic()
        gain = (now - self._at) * self.limit.size / self.limit.per
        self._level = min(float(self.limit.burst), self._level + gain)
        self._at = now
