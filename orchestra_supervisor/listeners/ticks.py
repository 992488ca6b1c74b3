"""When a TICK is due: whenever another slice of the day begins, by the clock on the wall. No I/O.

Source: supervisor 4.3, `supervisord.py` (tick, timeslice).
"""

from orchestra_supervisor.listeners.catalog import TICK_PERIODS, Happening, tick

__all__ = ["due_ticks", "until_next"]


def due_ticks(slices: dict[int, int], now: float) -> list[Happening]:
    """Return the ticks that are due, and take note of the slices that have begun.

    Args:
        slices: By period: the beginning of the slice that was told last. None is told when there is none.
        now: Seconds since the epoch.
    """
    found: list[Happening] = []
    for period in TICK_PERIODS:
        begun = int(now - now % period)
        if slices.setdefault(period, begun) != begun:
            slices[period] = begun
            found.append(tick(period, begun))
    return found


def until_next(now: float) -> float:
    """Return the seconds until the next slice of the shortest period begins."""
    shortest = min(TICK_PERIODS)
    return shortest - now % shortest
