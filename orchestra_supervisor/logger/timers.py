"""Deadlines of one loop: what is to be called, and how long the loop may sleep until then."""

import heapq
import itertools
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Timer", "Timers"]


Timer = tuple[float, int, Callable[[], None]]
"""A call that is due: what `after` returns and `cancel` takes."""


class Timers:
    """Calls functions when their time has come. Without timers the loop sleeps for ever."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._numbers = itertools.count()

    def after(self, delay: float, call: Callable[[], None]) -> Timer:
        """Have a function called once, `delay` seconds from now."""
        timer = (time.monotonic() + delay, next(self._numbers), call)
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do not call it after all. Does nothing when it has been called."""
        with suppress(ValueError):
            self._heap.remove(timer)
            heapq.heapify(self._heap)

    def wait(self) -> float | None:
        """Return the seconds until the next call is due; None: there is none."""
        return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def run(self) -> None:
        """Call what is due."""
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
