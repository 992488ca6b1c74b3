"""Standing orders: the first restart, decided by the daemon beforehand and carried out the moment a run ends.

A standing order is good for one end of one run. It is given for the case that nothing else happens: any stop
of the run ends it, and so does a daemon that knows of none (docs/adr/0017-the-keeper-restarts-first.md).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from orchestra_supervisor.keeper.fields import BadMessage, list_of, seconds, take_text
from orchestra_supervisor.wire.frames import Message

__all__ = ["Successor", "may_follow", "parse_successor"]


@dataclass(frozen=True, slots=True)
class Successor:
    """What is to follow a run.

    Attributes:
        run: Id of the run that follows.
        min_life: Seconds that the run before it must have lasted.
        unless: Exit codes after which none follows.
        needs: Runs whose programs must be running, unstopped, for it to begin.
    """

    run: str
    min_life: float
    unless: frozenset[int]
    needs: tuple[str, ...]


def parse_successor(value: object) -> Successor | None:
    """Check the `next` of a `spawn` or `again`; None: nothing is to follow.

    Raises:
        BadMessage: A key is missing, or has a wrong type or value.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadMessage("next is neither an object nor null")
    given = cast("Message", value)
    unless: list[int] = list_of(given, "unless", int)
    needs: list[str] = list_of(given, "needs", str)
    min_life = seconds("min_life", given.get("min_life"))
    return Successor(take_text(given, "run"), min_life, _codes(tuple(unless)), tuple(needs))


@lru_cache(maxsize=64)
def _codes(codes: tuple[int, ...]) -> frozenset[int]:
    return frozenset(codes)  # most services have the same


def may_follow(successor: Successor, *, lasted: float, code: int | None) -> bool:
    """Return whether an end is one that the successor is meant for.

    Args:
        successor: The order.
        lasted: Seconds from the start of the ended run to its end.
        code: Its exit code; None: a signal ended it.
    """
    return lasted >= successor.min_life and code not in successor.unless
