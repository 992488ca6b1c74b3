"""The connection that a request came by: whoever keeps something for a talk on it is told of its end.

A connection of the socket is one conversation from its first line to its end, and all its requests are
answered in its tasks: so what is present there is known wherever a request gets to.
"""

from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Presence", "present", "who_is_present"]


class Presence:
    """A connection for as long as it lasts."""

    def __init__(self) -> None:
        self._farewells: dict[Hashable, Callable[[], None]] = {}

    def at_end(self, key: Hashable, farewell: Callable[[], None]) -> None:
        """Have a function called at its end; the first of a key holds. It never blocks and never raises."""
        self._farewells.setdefault(key, farewell)

    def end(self) -> None:
        """Say that it is over."""
        for farewell in self._farewells.values():
            farewell()
        self._farewells.clear()


_here: ContextVar[Presence | None] = ContextVar("presence", default=None)


@contextmanager
def present() -> Generator[Presence]:
    """Be present for what runs within, and for the tasks that it starts; then end."""
    presence = Presence()
    token = _here.set(presence)
    try:
        yield presence
    finally:
        _here.reset(token)
        presence.end()


def who_is_present() -> Presence | None:
    """Return the connection that the present task works for; None: it came by none that is a conversation."""
    return _here.get()
