"""Bytes that were thrown away: counted exactly, reported at a bounded rate."""

import time
from collections.abc import Callable

from orchestra_supervisor.logger.timers import Timers

__all__ = ["REPORT_INTERVAL", "Drops"]

REPORT_INTERVAL = 1.0
"""Seconds between two reports at least, and after the first lost byte, so that a burst is one report."""

_LONGEST = 60.0  # seconds between two reports of a trouble that lasts; each report doubles the interval


class Drops:
    """Counts what one log loses.

    Every report carries what was lost since the one before: their sum is the whole loss.

    Args:
        timers: For the reports.
        tell: Called with the number of bytes and the instant (seconds since the epoch) of the first.
    """

    def __init__(self, timers: Timers, tell: Callable[[int, float], None]) -> None:
        self._timers = timers
        self._tell = tell
        self._bytes = 0
        self._since_wall = 0.0
        self._last = float("-inf")
        self._interval = REPORT_INTERVAL
        self._due: float | None = None

    @property
    def unreported(self) -> int:
        """Bytes that have not been reported yet."""
        return self._bytes

    def add(self, size: int) -> None:
        """Count bytes that were thrown away."""
        if not self._bytes:
            self._since_wall = time.time()
        self._bytes += size
        self._schedule(REPORT_INTERVAL)

    def over(self) -> None:
        """The trouble is over: report what is left as soon as the rate allows."""
        self._interval = REPORT_INTERVAL
        if self._bytes:
            self._schedule(0.0)

    def report(self) -> None:
        """Report now, if there is anything to report."""
        if self._bytes:
            self._last = time.monotonic()
            size, self._bytes = self._bytes, 0
            self._tell(size, self._since_wall)

    def _schedule(self, at_least: float) -> None:
        now = time.monotonic()
        due = max(now + at_least, self._last + self._interval)
        if self._due is None or due < self._due:
            self._due = due
            self._timers.after(due - now, self._on_due)

    def _on_due(self) -> None:
        if self._due is None or time.monotonic() < self._due:
            return  # it was brought forward, and done
        self._due = None
        self._interval = min(self._interval * 2, _LONGEST)
        self.report()
