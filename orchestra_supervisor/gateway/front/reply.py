"""The answer to one POST: JSON where the result comes first, events where anything comes before it.

Source: the MCP specification 2026-07-28 and 2025-11-25, `basic/transports`, "Sending Messages to the Server".
"""

from collections.abc import Callable

import anyio

from orchestra_supervisor.gateway.front.events import KEEP_ALIVE, EventLog, plain_event
from orchestra_supervisor.gateway.front.request import Fields, Request
from orchestra_supervisor.gateway.messages import Json

__all__ = ["KEEP_ALIVE_TIME", "SSE_HEADERS", "Pulse", "Reply"]

KEEP_ALIVE_TIME = 15.0
"""Seconds of silence after which a client is told that its answer is still being worked on."""

SSE_HEADERS: Fields = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class Reply:
    """How one POST is answered.

    Args:
        request: The POST.
        log: Keeps what is sent for a client that comes back; None: this one does not come back.
        keep: Called with the log when it has become a stream.
    """

    def __init__(
        self, request: Request, log: EventLog | None = None, keep: Callable[[EventLog], None] | None = None
    ) -> None:
        self._request = request
        self._log = log
        self._keep = keep
        self._streaming = False
        self._released = False
        self._order = anyio.Lock(fast_acquire=True)  # no turn of the loop for it: mostly nobody else writes
        self.sent_at = anyio.current_time()

    @property
    def is_stream(self) -> bool:
        """Return whether it has become a stream of events."""
        return self._streaming

    async def emit(self, message: Json) -> None:
        """Send a message that is not the last one."""
        async with self._order:
            await self._stream()
            await self._write(self._event(message))

    async def finish(self, message: Json | None, status: int = 200) -> None:
        """Send the last message, or nothing but the end; the status holds where nothing was sent before."""
        async with self._order:
            if not self._streaming:
                await self._request.respond(status, message)
                return
            event = b"" if message is None else self._event(message, last=True)
            await self._write(event, last=True)

    async def release(self) -> None:
        """End the stream before the answer: a client that can comes back for the rest when it suits it.

        Does nothing for one that cannot.
        """
        if self._log is not None:
            async with self._order:
                await self._stream()
                await self._write(b"", last=True)
                self._released = True

    async def keep_alive(self) -> None:
        """Say that the answer is being worked on, unless something is being sent or waits for the client."""
        if not self._order.locked() and not self._request.connection.is_stuffed():
            async with self._order:
                began = self._streaming
                await self._stream()
                if began:
                    await self._write(KEEP_ALIVE)

    async def _stream(self) -> None:
        if not self._streaming:
            self._streaming = True
            if self._log is not None and self._keep is not None:
                self._keep(self._log)
            await self._request.begin(200, SSE_HEADERS)
            await self._write(KEEP_ALIVE if self._log is None else self._log.primer())

    def _event(self, message: Json, *, last: bool = False) -> bytes:
        return plain_event(message) if self._log is None else self._log.add(message, last=last)

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        self.sent_at = anyio.current_time()
        if not self._released:
            await self._request.write(data, last=last)


class Pulse:
    """Keeps the answers alive that take long."""

    def __init__(self) -> None:
        self._replies: dict[Reply, None] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def watch(self, reply: Reply) -> None:
        """Keep an answer alive."""
        self._replies[reply] = None

    def leave(self, reply: Reply) -> None:
        """Let it be: it is complete."""
        self._replies.pop(reply, None)

    async def run(self) -> None:
        """Do it until cancelled."""
        while True:
            await anyio.sleep(KEEP_ALIVE_TIME / 6)
            due = anyio.current_time() - KEEP_ALIVE_TIME
            for reply in [reply for reply in self._replies if reply.sent_at <= due]:
                if reply in self._replies:  # it may be complete since another one was written to
                    await reply.keep_alive()
