"""One HTTP connection of supervisord's interface: requests in, answers out, every wait bounded.

supervisord's own clients keep a connection over long answers and long silences, and one of them ends its
requests with an empty line too many; a server for browsers has other customs, so this one is our own.

Source: RFC 9112; supervisor 4.3, `http_client.py`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

import anyio
import anyio.abc
import h11

__all__ = ["BODY_LIMIT", "Answer", "Handler", "Request", "Talk"]

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body; a call of supervisorctl has some 300."""
HEAD_LIMIT = 16 * 1024
"""Bytes of a request's head."""
REQUEST_TIME = 30.0
"""Seconds that a request may take to arrive, and a new connection to begin its first one."""
IDLE_TIME = 3600.0
"""Seconds that a connection may say nothing between two requests: a person sits before supervisorctl."""
SEND_TIME = 60.0
"""Seconds in which a client must take some of an answer."""
STALL_TIME = 3600.0
"""The same for an endless answer: a person has stopped the terminal, and nothing piles up here."""
_CHUNK = 64 * 1024
_AHEAD = 64 * 1024  # bytes that a client may send before it has its answer

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has arrived whole.

    Attributes:
        method: In capitals.
        path: As it was sent, the query cut off.
        headers: By name in small letters; the last of several counts.
        body: Its content.
        client: Who connected, for the audit.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    client: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        status: HTTP status.
        body: The content, or an endless one, piece by piece.
        kind: Its media type.
        headers: Further headers.
    """

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    kind: str = "text/plain;charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict[str, str])


Handler = Callable[[Request], Awaitable[Answer]]
"""Answers a request. Cancelled when its client leaves before the answer is there."""


class _Over(Exception):
    """There is nothing more to say on this connection."""


class Talk:
    """One connection, from its first request to its end.

    Args:
        stream: The connection.
        client: Who is at the other end.
        handler: Answers.
    """

    def __init__(self, stream: anyio.abc.SocketStream, client: str, handler: Handler) -> None:
        self._stream = stream
        self._client = client
        self._handler = handler
        self._http = _fresh()
        self._ahead = bytearray()
        self._is_over = False
        self.is_idle = True
        """True while it waits for a request: it may be closed to make room."""
        self.is_answering = False
        """True while an answer is made or sent that has an end."""
        self.idle_since = anyio.current_time()

    async def run(self) -> None:
        """Answer requests until the client leaves, breaks the rules or is too slow."""
        try:
            wait = REQUEST_TIME
            while await self._answer_next(wait):
                # Anew for each request: an empty line between two of them is then ours to pass over.
                self._ahead[:0] = self._http.trailing_data[0]
                self._http = _fresh()
                wait = IDLE_TIME
        except (_Over, anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
            return  # the client has gone, or is as good as gone

    async def refuse(self, status: int) -> None:
        """Answer whatever is asked, without reading it, and be done."""
        with anyio.move_on_after(1.0):
            try:
                await self._send(Answer(status), is_last=True, is_head=False)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, h11.LocalProtocolError):
                return

    async def _answer_next(self, wait: float) -> bool:
        """Answer one request; return whether another may follow."""
        self.is_idle, self.idle_since = True, anyio.current_time()
        with anyio.fail_after(wait):
            await self._wait_begun()
        self.is_idle = False
        try:
            with anyio.fail_after(REQUEST_TIME):
                request, is_head = await self._read_request()
        except (h11.RemoteProtocolError, UnicodeDecodeError):
            await self.refuse(400)
            raise _Over from None
        if len(request.body) > BODY_LIMIT:
            await self.refuse(413)
            raise _Over
        await self._answer(request, is_head=is_head)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _wait_begun(self) -> None:
        """Wait for the first bytes of a request; empty lines before it are none."""
        while True:
            data = (bytes(self._ahead) or await self._receive()).lstrip(b"\r\n")
            self._ahead.clear()
            if data:
                self._http.receive_data(data)
                return

    async def _read_request(self) -> tuple[Request, bool]:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                    await self._stream.send(self._http.send(go_on) or b"")
                self._http.receive_data(await self._receive())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_LIMIT:
                    break
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise _Over  # PAUSED and ConnectionClosed come after a request, not in it
        if head is None:
            raise _Over
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        method = head.method.decode("ascii")
        path = head.target.decode("ascii").partition("?")[0]
        return Request(method, path, headers, bytes(body), self._client), method == "HEAD"

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(_CHUNK)
        except anyio.EndOfStream:
            raise _Over from None

    async def _answer(self, request: Request, *, is_head: bool) -> None:
        """Let the handler answer, and stop when the client leaves meanwhile."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope)
            try:
                self.is_answering = True
                answer = await self._handler(request)
                self.is_answering = isinstance(answer.body, bytes)
                await self._send(answer, is_last=not isinstance(answer.body, bytes), is_head=is_head)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
                self._is_over = True
            finally:
                self.is_answering = False
            group.cancel_scope.cancel()
        if self._is_over:
            raise _Over

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """Keep what the client sends ahead; end it all when it leaves or sends too much."""
        try:
            while len(self._ahead) <= _AHEAD:
                self._ahead += await self._stream.receive(_CHUNK)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        self._is_over = True
        scope.cancel()

    async def _send(self, answer: Answer, *, is_last: bool, is_head: bool) -> None:
        headers = {"Content-Type": answer.kind, **answer.headers}
        if is_last:
            headers["Connection"] = "close"
        if isinstance(answer.body, bytes):
            headers["Content-Length"] = str(len(answer.body))
        head = h11.Response(
            status_code=answer.status,
            reason=_REASONS.get(answer.status, b"Unknown"),
            headers=list(headers.items()),
        )
        start = self._http.send(head) or b""
        if isinstance(answer.body, bytes):
            content = b"" if is_head else self._http.send(h11.Data(answer.body)) or b""
            await self._send_bytes(start + content + (self._http.send(h11.EndOfMessage()) or b""), SEND_TIME)
            return
        await self._send_bytes(start, SEND_TIME)
        async with aclosing(cast("_Closable", answer.body)) as pieces:
            async for piece in pieces:
                await self._send_bytes(self._http.send(h11.Data(piece)) or b"", STALL_TIME)
        await self._send_bytes(self._http.send(h11.EndOfMessage()) or b"", SEND_TIME)

    async def _send_bytes(self, data: bytes, patience: float) -> None:
        for at in range(0, len(data), _CHUNK):
            with anyio.fail_after(patience):
                await self._stream.send(data[at : at + _CHUNK])


def _fresh() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)


class _Closable(AsyncIterator[bytes]):
    """An async generator, as far as it matters here."""

    async def aclose(self) -> None:
        """End it."""
