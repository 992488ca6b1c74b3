"""One HTTP request, as the ASGI server hands it over: its headers, its body, and the way to answer it."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import cast

import anyio

from orchestra_supervisor.gateway.front.wire import MAX_MESSAGE, as_object, encode, error_response
from orchestra_supervisor.gateway.messages import INVALID_REQUEST, Json, RequestId, RpcError

__all__ = ["BODY_TIME", "Connection", "Fields", "HttpRefused", "Receive", "Request", "Send"]

BODY_TIME = 30.0
"""Seconds that a body may take to arrive."""

Fields = tuple[tuple[bytes, bytes], ...]
"""Headers of an answer."""
Receive = Callable[[], Awaitable[Mapping[str, object]]]
Send = Callable[[Json], Awaitable[None]]

_DISCARD_TIME = 2.0  # seconds that are spent on a body that is too long
_DISCARD_BYTES = 16 * MAX_MESSAGE
_CLOSE: Fields = ((b"connection", b"close"),)
_JSON = (b"content-type", b"application/json")


class HttpRefused(Exception):
    """A request that is answered by a status of HTTP, before anything of it is done.

    Args:
        status: Of HTTP.
        error: What the body says.
        request_id: Of the message in its body, where that is known.
        headers: Beside those of the body.
    """

    def __init__(
        self, status: int, error: RpcError | str, request_id: RequestId | None = None, headers: Fields = ()
    ) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = RpcError(INVALID_REQUEST, error) if isinstance(error, str) else error
        self.request_id = request_id
        self.headers = headers


class Connection:
    """A client's connection, as far as a request has to know about it.

    Args:
        is_stuffed: Says whether the client does not read what it was sent.
        abort: Cuts it off.
        is_arriving: Says whether a part of a request may still be on its way.
        flush: Sends what was written in this step of the loop now, not at its end.
    """

    def __init__(
        self,
        is_stuffed: Callable[[], bool],
        abort: Callable[[], None],
        *,
        is_arriving: Callable[[], bool] = lambda: True,
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self.lost = False
        self.is_stuffed = is_stuffed
        self.abort = abort
        self.is_arriving = is_arriving
        self.flush = flush
        self._watchers: list[Callable[[], None]] = []

    def lose(self) -> None:
        """Note that the client is gone."""
        self.lost = True
        for tell in list(self._watchers):
            tell()

    @contextmanager
    def cancelling(self, scope: anyio.CancelScope) -> Generator[None, None, None]:
        """Cancel a scope when the client goes; the scope's own work alone, not what comes after it."""
        if self.lost:
            scope.cancel()
        self._watchers.append(scope.cancel)
        try:
            yield
        finally:
            self._watchers.remove(scope.cancel)


class Request:
    """One request.

    Args:
        scope: Of ASGI; its state has the `connection`.
        receive: Of ASGI.
        send: Of ASGI.
    """

    def __init__(self, scope: Mapping[str, object], receive: Receive, send: Send) -> None:
        self.method = str(scope["method"])
        self.path = str(scope["path"])
        self.headers: dict[bytes, list[bytes]] = {}
        for name, value in cast("list[tuple[bytes, bytes]]", scope["headers"]):
            self.headers.setdefault(name, []).append(value)
        server = cast("tuple[str, int | None] | None", scope.get("server"))
        self.arrived_at = server[0] if server is not None else ""
        self.connection = cast("Connection", as_object(scope["state"])["connection"])
        self._receive = receive
        self._send = send
        self._begun = False
        self._answered = False

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header, by its lower-case name."""
        values = self.headers.get(name)
        return values[0].strip(b" \t").decode("latin-1") if values else None

    @property
    def is_gone(self) -> bool:
        """Return whether nothing can be sent any more: the client left, or the answer is complete."""
        return self._answered or self.connection.lost

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            HttpRefused: It is too long, or takes too long.
        """
        content: bytes | None = None
        if not self.connection.is_arriving():  # mostly; a deadline costs more than all that it would watch
            content = await self._whole_body()
        else:
            with anyio.move_on_after(BODY_TIME) as deadline:
                content = await self._whole_body()
            if deadline.cancelled_caught:
                raise HttpRefused(408, f"the body did not arrive within {BODY_TIME:g} s", headers=_CLOSE)
        if content is None:
            await self._discard()
            raise HttpRefused(413, f"a body has at most {MAX_MESSAGE} bytes", headers=_CLOSE)
        return content

    async def respond(self, status: int, message: object = None, headers: Fields = ()) -> None:
        """Answer as a whole: with a JSON message, or with nothing but a status."""
        body = b"" if message is None else encode(message)
        kind = () if message is None else (_JSON,)
        length = () if status == 204 else ((b"content-length", str(len(body)).encode("ascii")),)
        await self.begin(status, (*kind, *length, *headers))
        await self.write(body, last=True)
        self.connection.flush()

    async def refuse(self, refused: HttpRefused) -> None:
        """Answer with what a refusal says; a client that was sent something already is cut off."""
        if self._begun:
            self.connection.abort()
            return
        message = error_response(refused.request_id, refused.error)
        await self.respond(refused.status, message, refused.headers)

    async def begin(self, status: int, headers: Fields) -> None:
        """Send the head of the answer."""
        if not self.is_gone:
            self._begun = True
            await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the answer; waits for a client that reads slowly, does nothing for one that left."""
        if not self.is_gone:
            self._answered = last
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def _whole_body(self) -> bytes | None:
        """Return the body once all of it is there; None: it is too long."""
        length = self.header(b"content-length") or "0"
        if length.isdigit() and int(length[:20]) > MAX_MESSAGE:
            return None
        content = bytearray()
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise HttpRefused(400, "the client went away")
            content += cast("bytes", message["body"])
            if len(content) > MAX_MESSAGE:
                return None
            more = bool(message["more_body"])
        return bytes(content)

    async def _discard(self) -> None:
        """Take what more comes: many clients look for an answer only when all is sent."""
        taken = 0
        with anyio.move_on_after(_DISCARD_TIME):
            while taken < _DISCARD_BYTES:
                message = await self._receive()
                taken += len(cast("bytes", message.get("body", b"")))
                if not message.get("more_body"):
                    return
