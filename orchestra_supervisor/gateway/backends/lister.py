"""What one server lists, handed on as it is; a list of tools that became empty by itself is doubted first."""

from dataclasses import replace
from typing import Protocol

from orchestra_supervisor.gateway.backends.introduction import Introduction
from orchestra_supervisor.gateway.backends.link import Link
from orchestra_supervisor.gateway.backends.listing import Lists, fetch_lists
from orchestra_supervisor.gateway.endpoint import ChangeKind

__all__ = ["Listener", "Lister"]

_DOUBT = (5.0, 30.0)  # seconds before an empty list that was not empty is asked for again


class Listener(Protocol):
    """Is told what an instance finds out. Never blocks."""

    def listed(self, lists: Lists, introduction: Introduction) -> None:
        """Take the lists, new or again."""
        ...

    def updated(self, uri: str) -> None:
        """Be told that a resource is another."""
        ...

    def lists_before(self) -> Lists:
        """Return the last good lists."""
        ...


class Lister:
    """See the module.

    Args:
        listener: Has the last good lists, and gets new ones.
        is_idle: The lists of this instance are nobody's: it asks for none.
    """

    def __init__(self, listener: Listener, *, is_idle: bool) -> None:
        self._listener = listener
        self._is_idle = is_idle
        self._doubts = 0
        self.shrunk = 0
        """It lists no tools, and did before: how many they were."""
        self.faults: tuple[str, ...] = ()

    @property
    def doubt(self) -> float | None:
        """Return the seconds after its connection at which tools are asked for again; None: they are not."""
        return _DOUBT[self._doubts] if self.shrunk else None

    def doubted(self) -> None:
        """Take note that it is about to be asked again."""
        self._doubts += 1

    async def fetch(self, link: Link, introduction: Introduction, kinds: frozenset[ChangeKind]) -> Lists:
        """Ask for lists: of these kinds, or all.

        Raises:
            LinkError: The server went away.
        """
        before = self._listener.lists_before()
        return before if self._is_idle else await fetch_lists(link, introduction, before, kinds)

    def publish(self, lists: Lists, introduction: Introduction, kinds: frozenset[ChangeKind]) -> None:
        """Hand on the lists.

        Args:
            lists: As they are now.
            introduction: What the server said of itself.
            kinds: What was asked for, as the server said that it is another; empty: all, unasked.
        """
        if self._is_idle:
            return
        before = self._listener.lists_before()
        self.faults = tuple(lists.faults.values())
        if before.tools and not lists.tools and not kinds and self._doubts < len(_DOUBT):
            self.shrunk = len(before.tools)
            lists = replace(lists, tools=before.tools)
        elif not kinds or ChangeKind.TOOLS in kinds:  # else nothing new is known of its tools
            self.shrunk = self._doubts = 0
        self._listener.listed(lists, introduction)
