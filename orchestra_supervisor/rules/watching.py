"""When changes of files are acted on: after a burst, and not for ever."""

__all__ = ["LONGEST_BURST", "MOST_ACTIONS", "WINDOW", "act_at", "pause_until"]

LONGEST_BURST = 10.0
"""Seconds, or ten times the debounce where that is longer, after which a burst without an end is acted on."""
MOST_ACTIONS = 10
"""Actions of one watch within `WINDOW`; one that asks for more is paused: it may be the service that writes
what it is watched for."""
WINDOW = 60.0
"""Seconds over which actions are counted."""


def act_at(first: float, last: float, debounce: float) -> float:
    """Return the instant at which a burst is acted on if nothing more comes.

    Args:
        first: When its first change was seen.
        last: When its latest change was seen.
        debounce: Seconds of quiet that end it.
    """
    return min(last + debounce, first + max(LONGEST_BURST, 10 * debounce))


def pause_until(recent: tuple[float, ...], now: float) -> float | None:
    """Return until when a watch is to pause before it acts again, or None: it may act now.

    Args:
        recent: Instants of its actions, the oldest first.
        now: Of the same clock.
    """
    counted = [at for at in recent if at > now - WINDOW]
    return counted[-MOST_ACTIONS] + WINDOW if len(counted) >= MOST_ACTIONS else None
