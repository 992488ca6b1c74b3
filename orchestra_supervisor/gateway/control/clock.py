"""The time of day, for what people read: ages, instants, and when a confirmation is too old."""

import time

__all__ = ["wall_now"]


def wall_now() -> float:
    """Return seconds since the epoch."""
    return time.time()  # noqa: TID251 - the one place of the control endpoint where wall time is read
