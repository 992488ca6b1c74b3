"""One HTTP/1.1 connection of the control API: requests in, answers of an ASGI application out.

The requests of a connection are answered one after the other. It is read from when the application wants
more, or waits for its client to leave: what a client sends ahead waits in the socket.

Source: RFC 9112, by llhttp; the ASGI specification.
"""

import socket
from collections import deque
from http import HTTPStatus
from urllib.parse import unquote

import anyio
import anyio.abc
import httptools

from orchestra_supervisor.surfaces.peer import state_of
from orchestra_supervisor.surfaces.talk import say
from orchestra_supervisor.surfaces.web import Asgi, Message, Scope
from orchestra_supervisor.unix_peer import peer_of_socket

__all__ = ["KEEP_ALIVE", "Exchange"]

KEEP_ALIVE = 30.0
"""Seconds that a connection without requests is kept."""
HEAD_LIMIT = 64 * 1024
"""Bytes of a request's head."""
_CHUNK = 64 * 1024
_AHEAD = 8  # requests that a client may send before it has its answer
_BODILESS = (204, 304)  # statuses that no body follows
_LEFT = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class _Malformed(Exception):
    """What came is no request."""


class _Asked:
    """A request as far as it has come."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.scope: Scope = {}
        self.body = bytearray()
        self.head_bytes = 0
        self.has_head = False
        self.is_whole = False
        self.is_kept = False
        self.expects_word = False


class _Requests:
    """Makes requests of the bytes of a connection."""

    def __init__(self) -> None:
        self.waiting: deque[_Asked] = deque()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # it is not looked at any more
        self._now = _Asked()
        self._unfinished = 0  # bytes since the last head was whole

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            _Malformed: They are no HTTP, or too much of it.
        """
        self._unfinished += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._now.is_kept = False  # to something that we do not speak: it is answered as HTTP
        except (httptools.HttpParserError, UnicodeDecodeError) as error:
            raise _Malformed from error
        if self._now.has_head:
            self._unfinished = 0
        if max(self._unfinished, self._now.head_bytes) > HEAD_LIMIT or len(self.waiting) > _AHEAD:
            raise _Malformed

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._now = _Asked()

    def on_url(self, url: bytes) -> None:
        self._now.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.head_bytes += len(name) + len(value)
        self._now.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        now, version = self._now, self._parser.get_http_version()
        url = httptools.parse_url(now.url)
        now.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": unquote(url.path.decode("ascii")),
            "raw_path": url.path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": now.headers,
            "client": None,
            "server": None,
        }
        now.has_head = True
        now.is_kept = version == "1.1" and self._parser.should_keep_alive()
        now.expects_word = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in now.headers
        )
        self.waiting.append(now)

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        self._now.is_whole = True


class Exchange:
    """One connection, from its first request to its end.

    Args:
        stream: The connection.
        app: Answers.
    """

    def __init__(self, stream: anyio.abc.SocketStream, app: Asgi) -> None:
        self._stream = stream
        self._app = app
        self._socket: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610  # not Django's
        self._peer = peer_of_socket(self._socket)
        self._requests = _Requests()
        self._is_over = False
        self.is_idle = True
        """True while it waits for a request: nobody misses anything when it is closed."""

    async def run(self) -> None:
        """Answer requests until the client leaves, breaks the rules, or asks nothing more."""
        try:
            while not self._is_over and await self._wait_asked():
                asked = self._requests.waiting.popleft()
                self.is_idle = False
                await self._answer(asked)
                self.is_idle = True
        except _Malformed:
            await self.refuse(400)
        except _LEFT:
            return

    async def refuse(self, status: int) -> None:
        """Answer whatever is asked, and be done."""
        with anyio.move_on_after(1.0):
            try:
                await self._stream.send(_nothing(status))
            except _LEFT:
                return

    def finish(self) -> None:
        """Have no further request after the present one."""
        self._is_over = True

    def cut(self) -> None:
        """Cut the connection off, unsent bytes included."""
        self._is_over = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the client was quicker

    async def _wait_asked(self) -> bool:
        """Wait for the head of a request; return False when none comes in time."""
        with anyio.move_on_after(KEEP_ALIVE):
            while not self._requests.waiting:
                self._requests.feed(await self._stream.receive(_CHUNK))
            return True
        return False

    async def _answer(self, asked: _Asked) -> None:
        asked.scope["state"] = state_of(self._peer, self.cut)
        turn = _Turn(self._stream, self._requests, asked)
        try:
            await self._app(asked.scope, turn.receive, turn.send)
        except Exception as error:  # noqa: BLE001  # a request's edge
            say(
                f"error: {asked.scope['method']} {asked.scope['path'][:200]}: {type(error).__name__}: {error}"
            )
        if not turn.is_whole:
            self.cut()
        # What is left of a request that was answered before it was read would be taken for the next one.
        self._is_over = self._is_over or not (turn.is_kept and asked.is_whole)


class _Turn:
    """One request and its answer, as ASGI wants them."""

    def __init__(self, stream: anyio.abc.SocketStream, requests: _Requests, asked: _Asked) -> None:
        self._stream = stream
        self._requests = requests
        self._asked = asked
        self._is_bodiless = asked.scope["method"] == "HEAD"
        self._is_chunked = False
        self._head = b""
        self._has_begun = False
        self._has_left = False
        self._is_read = False
        self.is_kept = asked.is_kept
        """Whether another request may follow."""
        self.is_whole = False
        """Whether all of the answer has been sent."""

    async def receive(self) -> Message:
        """Return what has come of the body, or wait; after it, wait for the client to leave."""
        asked = self._asked
        if asked.expects_word and not asked.is_whole and not asked.body:
            await self._write(_head(100, []))
        asked.expects_word = False
        while not self._has_left and (self._is_read or not (asked.body or asked.is_whole)):
            try:
                self._requests.feed(await self._stream.receive(_CHUNK))
            except _LEFT:
                self._has_left = True
            except _Malformed:
                if not self._has_begun:
                    await self._write(_nothing(400))
                self._has_left = True
        if self._has_left:
            return {"type": "http.disconnect"}
        body, asked.body = bytes(asked.body), bytearray()
        self._is_read = asked.is_whole
        return {"type": "http.request", "body": body, "more_body": not asked.is_whole}

    async def send(self, message: Message) -> None:
        """Take a part of the answer; to a client that has left, nothing is sent."""
        if message["type"] == "http.response.start":
            await self._start(message["status"], list(message.get("headers", ())))
            return
        body, is_last = message.get("body", b""), not message.get("more_body", False)
        if self._is_bodiless:
            body = b""
        elif self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"0\r\n\r\n" if is_last else b""
        head, self._head = self._head, b""
        await self._write(head + body)
        self.is_whole = is_last

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._has_begun = True
        given = {name.lower(): value.lower() for name, value in headers}
        self.is_kept = self.is_kept and given.get(b"connection") != b"close"
        if not self.is_kept and b"connection" not in given:
            headers.append((b"connection", b"close"))
        self._is_bodiless = self._is_bodiless or status in _BODILESS
        self._is_chunked = not self._is_bodiless and b"content-length" not in given
        if self._is_chunked:
            headers.append((b"transfer-encoding", b"chunked"))
            await self._write(_head(status, headers))  # what is to follow may be long in coming
        else:
            self._head = _head(status, headers)

    async def _write(self, data: bytes) -> None:
        if self._has_left or not data:
            return
        try:
            await self._stream.send(data)
        except _LEFT:
            self._has_left = True


def _head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the head of an answer; names and values are our own, so that none breaks out of its line."""
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode("ascii"))]
    lines += [b"%b: %b" % pair for pair in headers]
    return b"\r\n".join([*lines, b"", b""])


def _nothing(status: int) -> bytes:
    """Return an answer without a body, and the last one."""
    return _head(status, [(b"content-length", b"0"), (b"connection", b"close")])
