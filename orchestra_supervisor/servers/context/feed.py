"""Recent changes: a ring that remembers, and streams that follow it.

A change's id is `<start>-<number>`: the number counts up, the start tells one life of the server from
another, so that a client that comes back with an old id learns that it has missed something.
"""

import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from anyio import BrokenResourceError, ClosedResourceError, WouldBlock, create_memory_object_stream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from orchestra_supervisor.servers.context.index import Change
from orchestra_supervisor.servers.settings import now

__all__ = ["MAX_FOLLOWERS", "MAX_REMEMBERED", "MAX_WAITING", "Feed", "Follower", "Item"]

MAX_REMEMBERED = 1000
"""Changes in the ring; older ones are forgotten."""
MAX_WAITING = 4096
"""Changes that wait for one follower: a large checkout at once. One that falls further behind is dropped."""
MAX_FOLLOWERS = 100
"""Streams at a time."""


@dataclass(frozen=True, slots=True)
class Item:
    """A change with its number and time."""

    number: int
    at: str
    change: Change

    def to_dict(self, start: str) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "id": f"{start}-{self.number}",
            "at": self.at,
            "kind": self.change.kind,
            "path": self.change.path,
            "old_path": self.change.old_path,
        }


class Follower:
    """One stream's view: first what it is to catch up with, then what comes.

    Attributes:
        is_overflowed: It was too slow; what it was sent ends before what happened.
    """

    def __init__(self, send: MemoryObjectSendStream[Item], items: MemoryObjectReceiveStream[Item]) -> None:
        self._send = send
        self.items = items
        self.is_overflowed = False

    def push(self, item: Item) -> None:
        """Hand over an item, or end the stream where it does not keep up."""
        try:
            self._send.send_nowait(item)
        except WouldBlock:
            self.is_overflowed = True
            self._send.close()
        except (BrokenResourceError, ClosedResourceError):
            pass  # its reader has left, or it overflowed before

    def end(self) -> None:
        """End the stream after what waits in it."""
        self._send.close()


class Feed:
    """The ring and its followers; for one thread."""

    def __init__(self) -> None:
        self.start = secrets.token_hex(4)
        self.last = 0
        self._ring: deque[Item] = deque(maxlen=MAX_REMEMBERED)
        self._followers: set[Follower] = set()
        self._is_ended = False

    @property
    def last_id(self) -> str:
        """The id of the newest change, or of none yet."""
        return f"{self.start}-{self.last}"

    def publish(self, changes: Iterable[Change]) -> None:
        """Remember changes and hand them to the followers."""
        at = now()
        for change in changes:
            self.last += 1
            item = Item(self.last, at, change)
            self._ring.append(item)
            for follower in self._followers:
                follower.push(item)

    def since(self, after: str | None) -> tuple[list[Item], bool]:
        """Return what came after an id, oldest first, and whether something in between is forgotten.

        Args:
            after: An id; None: from the oldest remembered one.
        """
        if after is None:
            return list(self._ring), False
        start, _, text = after.rpartition("-")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
        if start != self.start or not 0 <= number <= self.last:
            return list(self._ring), True
        items = [item for item in self._ring if item.number > number]
        return items, self.last - number > len(items)

    def follow(self) -> Follower | None:
        """Return a new follower of what comes from now on; None where there are too many."""
        if len(self._followers) >= MAX_FOLLOWERS:
            return None
        send, receive = create_memory_object_stream[Item](MAX_WAITING)
        follower = Follower(send, receive)
        if self._is_ended:
            follower.end()
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Forget a follower."""
        self._followers.discard(follower)
        follower.end()
        follower.items.close()

    def end(self) -> None:
        """End all streams, and those that are still to come."""
        self._is_ended = True
        for follower in self._followers:
            follower.end()

    @property
    def followers(self) -> int:
        """How many streams there are."""
        return len(self._followers)
