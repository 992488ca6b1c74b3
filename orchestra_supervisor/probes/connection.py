"""One short-lived connection of a check, TCP or to a Unix socket, on a bare non-blocking socket.

A probe connects, says little and closes. Against a transport with buffers and callbacks the
bare socket costs a third of the processor time, which is what a thousand probes a second need.
"""

import errno
import os
import socket
from collections.abc import Sequence

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

__all__ = ["ConnectError", "ProbeStream", "connect", "connect_unix", "place"]

_MAX_SUN_PATH = 107  # bytes; sun_path of unix(7) holds 108, of which one is the closing NUL

_LOCALHOST = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""Both families of `localhost`, without asking the resolver (which needs a thread) at each check."""

_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.ECONNRESET: "connection reset",
    errno.EMFILE: "too many open files in the daemon",
    errno.EADDRNOTAVAIL: "no free local port or address",
    errno.ENOENT: "no such socket",
    errno.ENOTSOCK: "not a socket",
    errno.EPROTOTYPE: "not a stream socket",
    errno.EACCES: "permission denied",
    errno.EAGAIN: "no connection accepted",  # connect(2): the queue of a Unix socket is full
}


class ConnectError(Exception):
    """No connection came about; the message is one line for people."""


class ProbeStream(anyio.abc.ByteStream):
    """A connected non-blocking socket as an anyio stream.

    Closing is immediate: a check never waits for the other side's goodbye.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, item: bytes) -> None:
        """Send all bytes.

        Raises:
            OSError: The connection broke.
        """
        view = memoryview(item)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._sock)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes.

        Raises:
            anyio.EndOfStream: The other side has closed.
            OSError: The connection broke.
        """
        while True:
            await anyio.wait_readable(self._sock)
            try:
                data = self._sock.recv(max_bytes)
            except BlockingIOError:  # woken for nothing
                continue
            if not data:
                raise anyio.EndOfStream
            return data

    async def send_eof(self) -> None:
        """Tell the other side that nothing more comes."""
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close at once."""
        self._sock.close()


def place(host: str, port: int) -> str:
    """Return `host:port` as people write it, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def connect(host: str, port: int) -> ProbeStream:
    """Connect to a host's port; for a name, each of its addresses in turn.

    Args:
        host: Address or name; `localhost` means 127.0.0.1, then ::1.
        port: 1 to 65535.

    Returns:
        The connected stream, which the caller closes.

    Raises:
        ConnectError: Nothing accepted; says why, for the first address.
    """
    await checkpoint()
    first: OSError | None = None
    for family, address in await _addresses(host, port):
        try:
            return await _connect_one(family, address, port)
        except OSError as error:
            first = first or error
    assert first is not None
    reason = _REASONS.get(first.errno or 0) or os.strerror(first.errno or 0)
    raise ConnectError(f"{reason} at {place(host, port)}") from first


async def connect_unix(path: str) -> ProbeStream:
    """Connect to a Unix socket whose path may be of any length.

    Args:
        path: Absolute.

    Returns:
        The connected stream, which the caller closes.

    Raises:
        ConnectError: Nothing accepted; says why.
    """
    await checkpoint()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _connect_path(sock, path)
    except OSError as error:
        sock.close()
        reason = _REASONS.get(error.errno or 0) or os.strerror(error.errno or 0)
        raise ConnectError(f"{reason} at {path}") from error
    return ProbeStream(sock)


def _connect_path(sock: socket.socket, path: str) -> None:
    if len(os.fsencode(path)) <= _MAX_SUN_PATH:
        sock.connect(path)
        return
    directory, name = os.path.split(path)
    # Reached by way of its directory, whose descriptor has a short name.
    descriptor = os.open(directory, os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)


async def _addresses(host: str, port: int) -> Sequence[tuple[int, str]]:
    if host == "localhost":
        return _LOCALHOST
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        pass
    else:
        return ((family, host),)
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a host name"
        raise ConnectError(f"cannot resolve {host!r}: {reason}") from error
    return [(entry[0], str(entry[4][0])) for entry in found]


async def _connect_one(family: int, address: str, port: int) -> ProbeStream:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        # A closed local port in the ephemeral range can be given to our own end, which then
        # connects to itself (RFC 9293, simultaneous open): nobody listens there.
        if sock.getsockname() == sock.getpeername():
            raise OSError(errno.ECONNREFUSED, "connected to itself")
    except BaseException:
        sock.close()
        raise
    return ProbeStream(sock)
