"""Server-sent events of one stream: numbered, and kept for a client that comes back for the rest.

An event's id says which gateway sent it, on which stream, as which number, and to which request the stream
belongs: so that a client that comes back to another gateway is told that its answer is lost, and need not
wait for it.

Source: the HTML standard, "Server-sent events"; MCP 2025-11-25, `basic/transports.mdx`, "Resumability".
"""

import base64
import binascii
import json
from collections import deque
from dataclasses import dataclass

import anyio

from orchestra_supervisor.gateway.front.wire import encode
from orchestra_supervisor.gateway.messages import Json, RequestId

__all__ = ["KEEP_ALIVE", "RETRY", "EventId", "EventLog", "plain_event", "read_event_id"]

KEEP_ALIVE = b": \n\n"
"""A comment: what is sent on a silent stream."""
RETRY = 500
"""Milliseconds after which a client comes back for the rest of a stream."""
STANDING = ""
"""The name of the stream that belongs to no request."""

_MAX_EVENTS = 256
_MAX_BYTES = 4 * 1024 * 1024  # of the events of one stream; its last one is kept whatever its size
_MAX_ID = 1024  # characters


@dataclass(frozen=True, slots=True)
class EventId:
    """What an event's id says.

    Attributes:
        stamp: Of the gateway that sent it.
        stream: Of that gateway's session; STANDING or a number.
        number: Of the event on its stream.
        request_id: Whose answer the stream is; None: nobody's.
    """

    stamp: str
    stream: str
    number: int
    request_id: RequestId | None


class EventLog:
    """The events of one stream.

    Args:
        stamp: Of this gateway.
        stream: STANDING, or a name that is the stream's own within its session.
        request_id: Whose answer it is, or None.
    """

    def __init__(self, stamp: str, stream: str, request_id: RequestId | None) -> None:
        self.stream = stream
        self.done = False
        self.added_at = anyio.current_time()
        self._head = f"id: {stamp}.{stream}."
        self._tail = "." + base64.urlsafe_b64encode(encode(request_id)).decode("ascii").rstrip("=") + "\n"
        self._number = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._more = anyio.Event()

    def primer(self) -> bytes:
        """Return the event that begins a stream: nothing but an id to come back with."""
        return f"{self._head}{self._number}{self._tail}retry: {RETRY}\ndata: \n\n".encode()

    def add(self, message: Json, *, last: bool = False) -> bytes:
        """Number and keep a message; returns it as an event.

        Args:
            message: What is sent.
            last: Nothing comes after it.
        """
        self._number += 1
        event = f"{self._head}{self._number}{self._tail}".encode() + plain_event(message)
        self._kept.append((self._number, event))
        self._bytes += len(event)
        while len(self._kept) > 1 and (len(self._kept) > _MAX_EVENTS or self._bytes > _MAX_BYTES):
            self._bytes -= len(self._kept.popleft()[1])
        self.done = last
        self.added_at = anyio.current_time()
        self._more.set()
        return event

    def after(self, number: int) -> list[tuple[int, bytes]]:
        """Return the kept events after a number."""
        return [(at, event) for at, event in self._kept if at > number]

    async def wait_after(self, number: int) -> None:
        """Wait until there is an event after a number, or the stream is done."""
        while self._number <= number and not self.done:
            self._more = anyio.Event() if self._more.is_set() else self._more
            await self._more.wait()


def plain_event(message: Json) -> bytes:
    """Return a message as an event that nobody can come back for."""
    return b"event: message\ndata: " + encode(message) + b"\n\n"


def read_event_id(text: str) -> EventId | None:
    """Return what the header Last-Event-ID says; None where it is no id of ours."""
    parts = text.split(".")
    if len(text) > _MAX_ID or len(parts) != 4 or not parts[2].isascii() or not parts[2].isdigit():
        return None
    try:
        request_id: object = json.loads(base64.urlsafe_b64decode(parts[3] + "=" * (-len(parts[3]) % 4)))
    except (ValueError, binascii.Error):
        return None
    known = request_id if isinstance(request_id, str | int) and not isinstance(request_id, bool) else None
    return EventId(parts[0], parts[1], int(parts[2]), known)
