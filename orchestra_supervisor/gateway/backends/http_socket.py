"""Connections to HTTP servers, kept open between requests.

Plain ones are bare non-blocking sockets: beside a transport with buffers and callbacks, or a client
library, they cost a fraction of the processor time, and a proxied call is mostly this (measured: a
request by h11 on a bare socket 0.2 ms, by httpx2 0.6 ms).
"""

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from typing import Protocol

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

__all__ = ["ByteStream", "Place", "dial"]

_LOCALHOST = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""Both families of `localhost`, without asking the resolver, which needs a thread."""
_HURRIED = 8  # reads in a row that had not to wait, after which others get their turn


class ByteStream(Protocol):
    """A connection."""

    @property
    def is_stale(self) -> bool:
        """True where the other side has closed it, or said something that nobody asked for."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all bytes; OSError where the connection broke."""
        ...

    async def receive(self) -> bytes:
        """Return the next bytes, none at the end; OSError where the connection broke."""
        ...

    def receive_nowait(self) -> bytes | None:
        """Return what has come, nothing at the end; None: nothing has come yet.

        Raises:
            OSError: The connection broke, or cannot be read so.
        """
        ...

    def close(self) -> None:
        """Close at once. May be called twice."""
        ...


class Place(Protocol):
    """Where to connect to."""

    @property
    def host(self) -> str:
        """Return the name or address."""
        ...

    @property
    def port(self) -> int:
        """Return the port."""
        ...

    @property
    def is_tls(self) -> bool:
        """Return whether it is spoken to by TLS."""
        ...


class _Plain:
    """Stays registered with the loop from one answer to the next: that is a tenth of a short call.

    Needs asyncio's loop.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._came: bytes | OSError | None = None
        self._is_watched = False
        self._hurried = 0

    @property
    def is_stale(self) -> bool:
        if self._came is not None:
            return True
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    async def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._sock)

    async def receive(self) -> bytes:
        if self._hurried >= _HURRIED:
            self._hurried = 0
            await checkpoint()
        while (data := self.receive_nowait()) is None:
            self._hurried = -1
            await self._readable()
        self._hurried += 1
        return data

    def receive_nowait(self) -> bytes | None:
        came, self._came = self._came, None
        if isinstance(came, OSError):
            raise came
        if came is not None:
            return came
        if self._sock.fileno() < 0:
            raise OSError(errno.ECONNABORTED, "closed here")
        try:
            return self._sock.recv(65536)
        except BlockingIOError:
            return None

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._unwatch()
            anyio.notify_closing(self._sock)
            self._sock.close()
            self._wake()

    async def _readable(self) -> None:
        if not self._is_watched:
            self._loop.add_reader(self._sock, self._called)
            self._is_watched = True
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _called(self) -> None:
        """Read for who waits: before they run, the loop would see the same bytes once more.

        Where nobody waits, look away, or the loop would call again and again.
        """
        if self._waiter is None or self._waiter.done():
            self._unwatch()
            return
        try:
            self._came = self.receive_nowait()
        except OSError as error:
            self._came = error
        if self._came is not None:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._sock)


class _Secure:
    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._is_closed = False

    @property
    def is_stale(self) -> bool:
        return self._is_closed

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise OSError(errno.ECONNRESET, "connection broken") from error

    async def receive(self) -> bytes:
        try:
            return await self._stream.receive()
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise OSError(errno.ECONNRESET, "connection broken") from error

    def receive_nowait(self) -> bytes | None:
        raise OSError(errno.EOPNOTSUPP, "what is under TLS is read by waiting alone")

    def close(self) -> None:
        self._is_closed = True
        sock = self._stream.extra(anyio.abc.SocketAttribute.raw_socket, None)  # noqa: S610 - of anyio
        if sock is not None and sock.fileno() >= 0:
            # Without a goodbye: nobody waits for it, and closing must not have to wait.
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


async def dial(place: Place) -> ByteStream:
    """Connect.

    Raises:
        OSError: Nothing accepted, or TLS failed; the text says what.
    """
    if place.is_tls:
        try:
            stream = await anyio.connect_tcp(place.host, place.port, tls=True, tls_standard_compatible=False)
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise OSError(errno.ECONNRESET, "it hung up in the middle of the TLS handshake") from error
        return _Secure(stream)
    first: OSError | None = None
    for family, address in await _addresses(place.host):
        try:
            return _Plain(await _connect(family, address, place.port))
        except OSError as error:
            first = first or error
    raise first or OSError(errno.EHOSTUNREACH, f"{place.host} has no address")


async def _addresses(host: str) -> Sequence[tuple[int, str]]:
    if host == "localhost":
        return _LOCALHOST
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        found = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [(entry[0], str(entry[4][0])) for entry in found]
    return ((family, host),)


async def _connect(family: int, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003  # socket takes it by position only
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        # A free local port can be given to our own end, which then connects to itself (RFC 9293).
        if sock.getsockname() == sock.getpeername():
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return sock
