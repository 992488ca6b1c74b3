"""HTTP/1.1 and server-sent events over a Unix socket, for a client that must import fast.

`http.client` alone costs 23 ms, more than the whole of `orchestra status` may spend on imports. This speaks
what a client of one server of ours needs: one exchange a connection, answers framed by length, by chunks or
by the end of the connection. It raises OSError (TimeoutError among them) for what the connection does, and
`HttpSyntaxError` for what is not HTTP.

Source: RFC 9112 (HTTP/1.1); the HTML standard, "Server-sent events"; unix(7).
"""

import os
import socket
import time
from collections.abc import Iterator, Mapping

__all__ = ["MAX_BODY", "HttpSyntaxError", "Response", "connect", "exchange", "query_text", "quote"]

MAX_BODY = 64 * 1024 * 1024
"""Bytes of one answer, and of one line of a stream."""

_MAX_SUN_PATH = 107  # bytes; sun_path of unix(7) holds 108, of which one is the closing NUL
_MAX_LINE = 64 * 1024  # bytes of one status, header or chunk-size line
_MAX_FIELDS = 100  # header or trailer fields of one answer
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class HttpSyntaxError(Exception):
    """The other side does not speak HTTP/1.1, or goes over a limit."""


def quote(text: str) -> str:
    """Percent-encode a text for one path segment or one side of a query parameter."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def query_text(query: Mapping[str, str | float | None] | None) -> str:
    """Return the query of a target with its question mark; None values are left out."""
    pairs = [
        f"{quote(name)}={quote(str(value))}" for name, value in (query or {}).items() if value is not None
    ]
    return f"?{'&'.join(pairs)}" if pairs else ""


def connect(path: str, timeout: float) -> socket.socket:
    """Connect to a Unix socket whose path may be of any length.

    A path over the OS limit is reached by way of its directory's descriptor.

    Args:
        path: The socket.
        timeout: Seconds for connecting, and for each operation until the caller says otherwise.

    Raises:
        OSError: As connect(2) and open(2) say.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        if len(os.fsencode(path)) <= _MAX_SUN_PATH:
            connection.connect(path)
            return connection
        directory, name = os.path.split(path)
        descriptor = os.open(directory, os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{descriptor}/{name}")
        finally:
            os.close(descriptor)
    except BaseException:
        connection.close()
        raise
    return connection


def exchange(
    connection: socket.socket,
    method: str,
    target: str,
    content: bytes | None,
    timeout: float,
    *,
    fields: Mapping[str, str] | None = None,
) -> "Response":
    """Send a request and return the answer as soon as its head is there.

    Args:
        connection: A fresh connection; the caller closes it.
        method: GET, POST, ...
        target: Path and query, quoted.
        content: The JSON body, or None.
        timeout: Seconds for the whole exchange, the answer's body included.
        fields: Further header fields: ASCII, without line ends.

    Raises:
        TimeoutError: The time is over.
        OSError: The connection broke.
        HttpSyntaxError: The answer is not HTTP/1.1.
    """
    reader = _Reader(connection, time.monotonic() + timeout)
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: */*\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in (fields or {}).items())
    if content is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    try:  # noqa: SIM105 - contextlib takes 1 ms to import
        connection.sendall(head.encode("ascii") + b"\r\n" + (content or b""))
    except (BrokenPipeError, ConnectionResetError):
        pass  # a server may refuse a body before it has read all of it: its answer says why
    words = reader.line().split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise HttpSyntaxError("the answer does not begin as HTTP/1.1 does")
    return Response(int(words[1]), _fields(reader), reader)


class Response:
    """An answer whose head has been read.

    Attributes:
        status: The status code.
        headers: Fields by lower-case name; of several of one name the last.
    """

    def __init__(self, status: int, headers: dict[str, str], reader: "_Reader") -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    def read(self) -> bytes:
        """Return the whole body.

        Raises:
            OSError: It did not come in time, or was cut short.
            HttpSyntaxError: It is over MAX_BODY, or its framing is broken.
        """
        body = bytearray()
        for piece in self._pieces():
            body += piece
            if len(body) > MAX_BODY:
                raise HttpSyntaxError(f"the answer is over {MAX_BODY} bytes")
        return bytes(body)

    def events(self, idle: float | None) -> Iterator[tuple[str, str, str]]:
        """Yield (last id, kind, data) of each event until the stream ends.

        Args:
            idle: Seconds without a byte after which TimeoutError is raised; None: never.
        """
        self._reader.deadline, self._reader.idle = None, idle
        last_id, kind, data = "", "", list[str]()
        for line in self._lines():
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    yield last_id, kind or "message", "\n".join(data)
                kind, data = "", []
            elif name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                last_id = value

    def _lines(self) -> Iterator[str]:
        rest = bytearray()
        for piece in self._pieces():
            rest += piece
            *lines, tail = rest.split(b"\n")
            if len(tail) > MAX_BODY:
                raise HttpSyntaxError(f"a line of the stream is over {MAX_BODY} bytes")
            rest = bytearray(tail)
            for line in lines:
                yield line.decode("utf-8", "replace").removesuffix("\r")

    def _pieces(self) -> Iterator[bytes]:
        reader = self._reader
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := _number(reader.line().split(b";", 1)[0], 16):
                yield from reader.exactly(size)
                reader.line()
            _fields(reader)
        elif "content-length" in self.headers:
            yield from reader.exactly(_number(self.headers["content-length"].encode(), 10))
        else:
            while data := reader.some(65536):
                yield data


class _Reader:
    """Bytes of a connection, within a deadline (monotonic) or with a longest silence (seconds)."""

    def __init__(self, connection: socket.socket, deadline: float | None) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self.deadline = deadline
        self.idle: float | None = None

    def some(self, most: int) -> bytes:
        """Return 1 to `most` bytes; none at the end of the stream."""
        if not self._buffer:
            self._fill()
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        return data

    def exactly(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes in pieces."""
        while size > 0:
            data = self.some(min(size, 65536))
            if not data:
                raise ConnectionResetError("the answer was cut short")
            size -= len(data)
            yield data

    def line(self) -> bytes:
        """Return one line without its end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE:
                raise HttpSyntaxError(f"a line of the answer is over {_MAX_LINE} bytes")
            if not self._fill():
                raise ConnectionResetError("the answer was cut short")
        data = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return data.removesuffix(b"\r")

    def _fill(self) -> bool:
        left = self.idle
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
        self._connection.settimeout(left)
        data = self._connection.recv(65536)
        self._buffer += data
        return bool(data)


def _fields(reader: _Reader) -> dict[str, str]:
    fields: dict[str, str] = {}
    for _ in range(_MAX_FIELDS):
        line = reader.line()
        if not line:
            return fields
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.strip().lower()] = value.strip()
    raise HttpSyntaxError(f"the answer has over {_MAX_FIELDS} fields")


def _number(text: bytes, base: int) -> int:
    try:
        value = int(text, base)
    except ValueError:
        value = -1
    if value < 0:
        raise HttpSyntaxError(f"the answer has a length of {text[:20]!r}")
    return value
