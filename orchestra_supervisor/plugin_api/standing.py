"""How a plugin has done so far, and when it is left alone: failures, suspension, backoff. Pure."""

from dataclasses import dataclass, replace

__all__ = ["FAILURES_IN_A_ROW", "Standing"]

FAILURES_IN_A_ROW = 3
"""Failures after which a plugin is suspended."""
FIRST_SUSPENSION = 5.0
"""Seconds; each further suspension without a success between is twice as long."""
LONGEST_SUSPENSION = 300.0


@dataclass(frozen=True, slots=True)
class Standing:
    """The record of one plugin.

    Attributes:
        calls: Calls so far.
        failures: Those that failed.
        in_a_row: Failures since the last success.
        suspended_until: Monotonic seconds, or None.
        last_error: The last failure, one line; it stays after a success.
    """

    calls: int = 0
    failures: int = 0
    in_a_row: int = 0
    suspended_until: float | None = None
    last_error: str = ""

    def is_suspended(self, now: float) -> bool:
        """Tell whether it is to be left alone."""
        return self.suspended_until is not None and now < self.suspended_until

    def passed(self) -> "Standing":
        """Return the record after a call that succeeded."""
        return replace(self, calls=self.calls + 1, in_a_row=0, suspended_until=None)

    def deferred(self, why: str) -> "Standing":
        """Return the record after a call that is to be tried later: no failure, and no success."""
        return replace(self, calls=self.calls + 1, last_error=why)

    def failed(self, why: str, now: float) -> "Standing":
        """Return the record after a call that failed. One that was open before a suspension extends none."""
        counted = replace(self, calls=self.calls + 1, failures=self.failures + 1, last_error=why)
        if self.is_suspended(now):
            return counted
        in_a_row = self.in_a_row + 1
        until = None
        if in_a_row >= FAILURES_IN_A_ROW:
            spell = min(FIRST_SUSPENSION * 2 ** min(in_a_row - FAILURES_IN_A_ROW, 16), LONGEST_SUSPENSION)
            until = now + spell
        return replace(counted, in_a_row=in_a_row, suspended_until=until)
