"""Server-sent events from a memory stream to one client, however slow the client is.

What arrives is taken at once, so that a slow client never holds up the sender; what the client
has not taken waits here within a bound. Beyond it everything waiting is dropped, the client is
told by an `overflow` event, and the stream ends: it comes back and asks for what it missed.

Source: the HTML standard, section "Server-sent events".
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Generic, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.surfaces.peer import abort_connection
from orchestra_supervisor.surfaces.web import Receive, Response, Scope, Send

__all__ = ["SseResponse", "encode_event", "format_sse"]

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that both sides notice a dead connection."""
OUTBOX_BYTES = 1024 * 1024
"""Bytes that wait for one client; some 3,000 events, or a third of a second of very busy logs."""
OVERFLOW_GRACE = 2.0
"""Seconds that a client gets to take the overflow event before its connection is cut off."""

_COMMENT = b": keep-alive\n\n"
_LINE_END = re.compile(r"\r\n|\r|\n")

T = TypeVar("T")


def format_sse(data: str, *, event: str = "", event_id: str = "") -> bytes:
    """Return one message in the wire format.

    Args:
        data: Its content; lines are kept.
        event: Its type, without line ends; empty: `message`.
        event_id: What a client names as the last it has seen; empty: none.

    Returns:
        The bytes, the closing empty line included.
    """
    lines = [f"id: {_one_line(event_id)}"] if event_id else []
    if event:
        lines.append(f"event: {_one_line(event)}")
    lines += [f"data: {line}" for line in _LINE_END.split(data)]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "backslashreplace")


def encode_event(event: Event) -> bytes:
    """Return an event as the control API streams it: id is its seq, type its kind, data its JSON."""
    data = json.dumps(event.to_dict(), separators=(",", ":"), default=repr)
    return format_sse(data, event=event.kind, event_id=str(event.seq))


def _one_line(text: str) -> str:
    return _LINE_END.sub(" ", text).replace("\0", "")


class SseResponse(Response, Generic[T]):
    """An answer that goes on until the stream ends, the client leaves, or it falls too far behind.

    Args:
        stream: What is sent; closed when the answer ends, so that its sender knows.
        encode: Makes the bytes of one message, as `format_sse` does.
        backfill: Sent first; not subject to the bound.
        headers: Further headers.
    """

    def __init__(
        self,
        stream: MemoryObjectReceiveStream[T],
        encode: Callable[[T], bytes],
        *,
        backfill: Iterable[T] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(b"", kind="text/event-stream; charset=utf-8")
        del self.headers["content-length"]
        # Not kept alive: what a slow client has not read must not wait for its next request.
        self.headers |= {"cache-control": "no-store", "connection": "close", **(headers or {})}
        self._stream = stream
        self._encode = encode
        self._outbox = [encode(item) for item in backfill]
        self._waiting = 0
        self._ended = False
        self._ready = anyio.Event()
        self._sent = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as ASGI wants it."""
        with self._stream:
            await self.start(send)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            async with anyio.create_task_group() as group:
                group.start_soon(self._leave_with_client, receive, group.cancel_scope)
                group.start_soon(self._collect, scope, group.cancel_scope)
                await self._write(send)
                self._sent.set()
                group.cancel_scope.cancel()

    async def _leave_with_client(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _collect(self, scope: Scope, cancel: anyio.CancelScope) -> None:
        async for first in self._stream:
            for item in chain((first,), self._at_hand()):
                data = self._encode(item)
                if self._outbox and self._waiting + len(data) > OUTBOX_BYTES:
                    await self._overflow(scope, cancel)
                    return
                self._outbox.append(data)
                self._waiting += len(data)
            self._ready.set()
        self._ended = True
        self._ready.set()

    def _at_hand(self) -> Iterator[T]:
        """Yield what is there already: events come in bursts, and each turn of the loop has its price."""
        with suppress(anyio.WouldBlock, anyio.EndOfStream):
            while True:
                yield self._stream.receive_nowait()

    async def _overflow(self, scope: Scope, cancel: anyio.CancelScope) -> None:
        dropped = len(self._outbox) + 1
        self._outbox = [format_sse(json.dumps({"dropped": dropped}), event="overflow")]
        self._ended = True
        self._ready.set()
        self._stream.close()
        with anyio.move_on_after(OVERFLOW_GRACE):
            await self._sent.wait()
            return
        if not abort_connection(scope):
            cancel.cancel()

    async def _write(self, send: Send) -> None:
        while True:
            chunk = _COMMENT
            if not self._outbox and not self._ended:
                with anyio.move_on_after(KEEP_ALIVE):
                    await self._ready.wait()
            if self._outbox or self._ended:
                chunk = b"".join(self._outbox)
                self._outbox, self._waiting, self._ready = [], 0, anyio.Event()
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if self._ended and not self._outbox:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
