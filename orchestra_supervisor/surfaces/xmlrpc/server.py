"""The listening sockets of supervisord's interface, and how many may use one at once."""

import os
import pwd
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
from anyio import to_thread

from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.supervisord import ServerSpec
from orchestra_supervisor.surfaces.unix_socket import MAX_SOCKET_PATH, BoundSocket, bind_unix_socket
from orchestra_supervisor.surfaces.xmlrpc.exchange import Handler, Talk

__all__ = ["MAX_CONNECTIONS", "Server", "client_of", "listening"]

MAX_CONNECTIONS = 128
"""Open connections of one server; the longest idle one makes room for the next."""
FINISH_TIME = 0.3
"""Seconds that answers under way get when the daemon ends."""
_CREDENTIALS = struct.Struct("3i")
_BACKLOG = 128
_PAUSE = 0.1  # seconds after a connection could not be taken: descriptors are short


@asynccontextmanager
async def listening(spec: ServerSpec) -> AsyncGenerator[anyio.abc.SocketListener]:
    """Listen where a spec says; at the end the socket's file is removed.

    Raises:
        ConflictError: It cannot be done: the path or the port is taken, or may not be used.
    """
    limiter = anyio.CapacityLimiter(1)
    if spec.path is None:
        sock = await to_thread.run_sync(_bind_tcp, spec, limiter=limiter)
        async with await anyio.abc.SocketListener.from_socket(sock) as listener:
            yield listener
        return
    bound = await to_thread.run_sync(_bind, spec, limiter=limiter)
    try:
        async with await anyio.abc.SocketListener.from_socket(bound.sock) as listener:
            yield listener
    finally:
        bound.release()


def _bind(spec: ServerSpec) -> BoundSocket:
    assert spec.path is not None
    path = Path(spec.path)
    if len(os.fsencode(path)) > MAX_SOCKET_PATH - 8:  # it is made under a longer name first
        raise ConflictError(
            f"{path}: too long for a socket of supervisord's clients",
            hint=f"a path of at most {MAX_SOCKET_PATH - 8} bytes",
        )
    bound = bind_unix_socket(path, mode=spec.mode)
    if spec.owner is not None:
        try:
            os.chown(path, *spec.owner)
        except OSError as error:
            bound.release()
            raise ConflictError(
                f"{path} cannot be given to {spec.owner[0]}:{spec.owner[1]}: {error.strerror}",
                hint="sockchown is for root, or for groups of one's own",
            ) from error
    return bound


def _bind_tcp(spec: ServerSpec) -> socket.socket:
    host = spec.host or "0.0.0.0"  # noqa: S104  # the file says so: `port = *:9001`
    sock: socket.socket | None = None
    try:
        family, *_, address = socket.getaddrinfo(host, spec.port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise ConflictError(
            f"{spec.url}: the port cannot be listened on: {error.strerror or error}",
            hint="`ss -ltnp` shows who has it; free it, or name another one",
        ) from error
    sock.setblocking(False)  # noqa: FBT003  # positional only
    return sock


class Server:
    """Talks with whoever connects to one listener.

    Args:
        handler: Answers requests.
        name: Of the server: its url.
        say: Told what goes wrong.
    """

    def __init__(self, handler: Handler, name: str, say: Callable[[str], None]) -> None:
        self._handler = handler
        self._name = name
        self._say = say
        self._talks: dict[Talk, anyio.CancelScope] = {}

    async def run(self, listener: anyio.abc.SocketListener) -> None:
        """Serve until cancelled."""
        async with anyio.create_task_group() as group:
            try:
                while True:
                    try:
                        stream = await listener.accept()
                    except OSError:
                        await anyio.sleep(_PAUSE)
                        continue
                    group.start_soon(self._serve, stream)
            finally:
                with anyio.CancelScope(shield=True):  # bounded by FINISH_TIME
                    await self._finish()

    async def _finish(self) -> None:
        """Let answers under way be sent (that to `shutdown` is one), and end all connections."""
        with anyio.move_on_after(FINISH_TIME):
            while any(talk.is_answering for talk in self._talks):  # noqa: ASYNC110  # a third of a second
                await anyio.sleep(0.01)
        for scope in list(self._talks.values()):
            scope.cancel()

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        try:
            async with stream:
                await self._talk(stream)
        except Exception as error:  # noqa: BLE001  # a connection's edge
            self._say(f"{self._name}: a connection failed: {type(error).__name__}: {error}")

    async def _talk(self, stream: anyio.abc.SocketStream) -> None:
        talk = Talk(stream, client_of(stream), self._handler)
        if not self._has_room():
            await talk.refuse(503)
            return
        with anyio.CancelScope(shield=True) as scope:  # ended by `_finish`
            self._talks[talk] = scope
            try:
                await talk.run()
            finally:
                del self._talks[talk]

    def _has_room(self) -> bool:
        """Return whether one more may come; a connection that only waits is closed for it."""
        if len(self._talks) < MAX_CONNECTIONS:
            return True
        idle = [talk for talk in self._talks if talk.is_idle and not self._talks[talk].cancel_called]
        if not idle:
            return False
        self._talks[min(idle, key=lambda talk: talk.idle_since)].cancel()
        return True


def client_of(stream: anyio.abc.SocketStream) -> str:
    """Return who is at the other end, for the audit: a user by the kernel's word, or an address."""
    sock = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610  # not Django's
    if sock.family != socket.AF_UNIX:
        address = stream.extra(anyio.abc.SocketAttribute.remote_address, ("?", 0))  # noqa: S610
        return f"{address[0]}:{address[1]}"
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
    except (AttributeError, OSError):
        return "somebody on the socket"
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = "unknown user"
    return f"{user} (uid {uid}, pid {pid})"
