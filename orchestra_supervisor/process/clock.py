"""The clocks of this machine, and fresh names: the one place where wall time is read."""

import secrets
import time

__all__ = ["SystemClock"]


class SystemClock:
    """The clocks of this machine."""

    def mono(self) -> float:
        """Return seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()  # noqa: TID251  # the one place where wall time is read

    def run_digits(self) -> str:
        """Return 12 fresh random hex digits."""
        return secrets.token_hex(6)
