"""HTTP/1.1 requests over kept connections, one response at a time: what a link needs, and no more.

Source: RFC 9112.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestra_supervisor.gateway.backends.http_answer import Answer, Malformed, head_of_request
from orchestra_supervisor.gateway.backends.http_socket import ByteStream, dial
from orchestra_supervisor.gateway.backends.link import MESSAGE_LIMIT, LinkError, Trouble

__all__ = ["HttpPool", "Response", "Target", "parse_target"]

_KEPT = 16  # idle connections
_KEPT_FOR = 4.0  # seconds idle: uvicorn closes after 5
_LINGERING = 16  # responses whose end is still to come
_LEFT_OVER = 16  # reads of what comes after all that was wanted

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart.

    Attributes:
        host: Name or address.
        port: Of it.
        is_tls: https.
        path: With the query.
        authority: What the Host header says.
    """

    host: str
    port: int
    is_tls: bool
    path: str
    authority: str

    @property
    def place(self) -> str:
        """Return the URL."""
        return f"{'https' if self.is_tls else 'http'}://{self.authority}{self.path}"

    def with_path(self, path: str) -> "Target":
        """Return another path at the same server."""
        return Target(self.host, self.port, self.is_tls, path, self.authority)


def parse_target(url: str) -> Target:
    """Take a URL apart.

    Raises:
        ValueError: It is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL")
    is_tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = parts.netloc.rpartition("@")[2]
    return Target(parts.hostname, parts.port or (443 if is_tls else 80), is_tls, path, authority)


class Response:
    """A response while it is read; `close` or the end of the body gives its connection back.

    Attributes:
        status: Of HTTP.
        headers: By lower-case name.
    """

    def __init__(self, pool: "HttpPool", stream: ByteStream) -> None:
        self._pool = pool
        self._stream = stream
        self._answer = Answer()
        self._is_over = False
        self.headers = self._answer.headers

    @property
    def status(self) -> int:
        """Return the status of HTTP; 0 before it is known."""
        return self._answer.status

    @property
    def content_type(self) -> str:
        """Return the media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def head(self) -> None:
        """Read the status and the headers.

        Raises:
            LinkError: The connection broke, or what came is not HTTP.
        """
        while not self._answer.status:
            await self._feed()

    async def chunk(self) -> bytes:
        """Return the next bytes of the body; none at its end.

        Raises:
            LinkError: The connection broke.
        """
        answer = self._answer
        while not answer.pieces:
            if self._is_over:
                return b""
            if answer.is_whole:
                self._give_back()
                return b""
            await self._feed()
        return answer.pieces.popleft()

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            LinkError: The connection broke, or it is over the limit.
        """
        parts: list[bytes] = []
        size = 0
        while piece := await self.chunk():
            parts.append(piece)
            size += len(piece)
            if size > MESSAGE_LIMIT:
                self.close()
                raise LinkError(Trouble.FAULT, f"the answer is over the limit of {MESSAGE_LIMIT} bytes")
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection, unless the response was read to its end. May be called twice."""
        self._answer.pieces.clear()
        if not self._is_over:
            self._is_over = True
            self._stream.close()

    def leave(self) -> None:
        """Want no more of it, and keep its connection: it can be used again once the end has come by itself.

        A server ends a stream of events a moment after the last one: nobody has to wait for that.
        """
        if not self.settle():
            self._pool.linger(self)

    def settle(self) -> bool:
        """Take what has come, without waiting; return whether this was the end of it, a good or a bad one."""
        try:
            for _ in range(_LEFT_OVER):
                if self._is_over:
                    return True
                self._answer.pieces.clear()
                if self._answer.is_whole:
                    self._give_back()
                    return True
                data = self._stream.receive_nowait()
                if data is None:
                    return False
                self._answer.feed(data)
        except (OSError, Malformed):
            pass
        self.close()
        return True

    def _give_back(self) -> None:
        self._is_over = True
        self._pool.give_back(self._stream, can_be_kept=self._answer.is_reusable)

    async def _feed(self) -> None:
        try:
            data = await self._stream.receive()
            if not data and not self.status:
                raise self._broken("it closed the connection without an answer")
            self._answer.feed(data)
        except OSError as error:
            raise self._broken(f"the connection broke ({error.strerror or error})") from error
        except Malformed as error:
            self.close()
            if not self.status:
                raise LinkError(Trouble.NOT_MCP, f"what answers is not an HTTP server ({error})") from error
            raise self._broken(f"the connection broke ({error})") from error

    def _broken(self, reason: str) -> LinkError:
        self.close()
        return LinkError(Trouble.LOST, reason)


class HttpPool:
    """The kept connections to one server."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._idle: list[tuple[float, ByteStream]] = []
        self._lingering: deque[tuple[float, Response]] = deque()
        self._is_closed = False

    async def send(self, method: str, headers: Headers, body: bytes, path: str = "") -> Response:
        """Send a request and return its response, of which nothing is read yet.

        Raises:
            LinkError: It cannot be sent.
        """
        lines = [("Host", self.target.authority), ("User-Agent", "orchestra-gateway"), *headers]
        if body:
            lines.append(("Content-Length", str(len(body))))
        try:
            head = head_of_request(method, path or self.target.path, lines)
        except Malformed as error:
            raise LinkError(Trouble.FAULT, f"the request is no HTTP: {error}", was_sent=False) from error
        stream = await self._take()
        try:
            await stream.send(head + body)
        except OSError as error:
            stream.close()
            raise LinkError(Trouble.LOST, f"the connection broke ({error.strerror or error})") from error
        except BaseException:
            stream.close()
            raise
        return Response(self, stream)

    def give_back(self, stream: ByteStream, *, can_be_kept: bool) -> None:
        """Keep a connection whose response was read, where it may be used again."""
        if not can_be_kept or self._is_closed or len(self._idle) >= _KEPT:
            stream.close()
        else:
            self._idle.append((time.monotonic(), stream))

    def linger(self, response: Response) -> None:
        """Keep a response that was left until its end has come; the oldest of too many is closed."""
        if self._is_closed:
            response.close()
            return
        self._lingering.append((time.monotonic(), response))
        if len(self._lingering) > _LINGERING:
            self._lingering.popleft()[1].close()

    def close(self) -> None:
        """Close the idle connections, and the others when they come back."""
        self._is_closed = True
        for _, stream in self._idle:
            stream.close()
        self._idle.clear()
        for _, response in self._lingering:
            response.close()
        self._lingering.clear()

    async def _take(self) -> ByteStream:
        oldest = time.monotonic() - _KEPT_FOR
        while self._lingering and self._lingering[0][1].settle():
            self._lingering.popleft()
        while self._lingering and self._lingering[0][0] < oldest:
            self._lingering.popleft()[1].close()
        while self._idle:
            since, stream = self._idle.pop()
            if since >= oldest and not stream.is_stale:
                return stream
            stream.close()
        try:
            return await dial(self.target)
        except OSError as error:
            where = f"{self.target.host}:{self.target.port}"
            reason = f"cannot connect to {where}: {error.strerror or error}"
            raise LinkError(Trouble.LOST, reason, was_sent=False) from error
