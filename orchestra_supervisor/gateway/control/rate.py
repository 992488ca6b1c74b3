"""How often a caller may change things."""

from collections import OrderedDict, deque
from collections.abc import Callable

__all__ = ["RateLimit"]

_WINDOW = 60.0  # seconds
_CALLERS = 1_000  # remembered; the one who called longest ago is forgotten first


class RateLimit:
    """Counts calls of the last minute by caller.

    Args:
        limit: Returns how many a minute are allowed; 0: any number.
        now: Returns monotonic seconds.
    """

    def __init__(self, limit: Callable[[], int], now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_for(self, principal: str) -> float:
        """Count a call, or return the seconds after which the next one is allowed; 0: it was counted."""
        limit, now = self._limit(), self._now()
        if limit <= 0:
            return 0.0
        calls = self._calls.setdefault(principal, deque())
        self._calls.move_to_end(principal)
        while len(self._calls) > _CALLERS:
            self._calls.popitem(last=False)
        while calls and calls[0] <= now - _WINDOW:
            calls.popleft()
        if len(calls) >= limit:
            return calls[-limit] + _WINDOW - now
        calls.append(now)
        return 0.0
