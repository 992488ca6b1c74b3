"""Serves an ASGI application on a Unix socket, as one task of the daemon.

A server for the web brings its own loop, signals, command line and ten wake-ups a second, 3 MB of them; a
Unix socket with some clients needs none of that. This sleeps while nobody asks.
"""

from pathlib import Path

import anyio
import anyio.abc
from anyio import to_thread
from anyio.abc import TaskStatus

from orchestra_supervisor.surfaces.exchange import Exchange
from orchestra_supervisor.surfaces.unix_socket import bind_unix_socket
from orchestra_supervisor.surfaces.web import Asgi

__all__ = ["serve_unix"]

FINISH_TIME = 0.3
"""Seconds that answers under way get when the server is cancelled."""
ABORT_TIME = 0.4
"""Seconds that requests get after their connection was cut; then they are cancelled."""
CANCEL_TIME = 0.2
"""Seconds that cancelled requests get."""
MAX_CONNECTIONS = 512
"""Open connections, above which a request is answered with 503."""
_PAUSE = 0.1  # seconds after a connection could not be taken: descriptors are short


async def serve_unix(
    app: Asgi,
    path: Path,
    *,
    mode: int = 0o600,
    group: str | None = None,
    task_status: TaskStatus[Path] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Start it with `await tg.start(...)`.

    Each request's scope says who calls: see `peer.peer_of`. When cancelled, answers under way get a
    moment, everything else (endless streams too) is cut off within a second, and the socket is removed.

    Args:
        app: The application.
        path: Of the socket; see `bind_unix_socket` for paths over the limit of the system.
        mode: Permissions of the socket.
        group: Name of the group that the socket belongs to, or None.
        task_status: Told the path that clients can connect to, once they can.

    Raises:
        ConflictError: Another daemon answers there, or the socket cannot be made.
        ConfigError: There is no such group.
    """
    bound = await to_thread.run_sync(
        lambda: bind_unix_socket(path, mode=mode, group=group), limiter=anyio.CapacityLimiter(1)
    )
    try:
        listener = await anyio.abc.SocketListener.from_socket(bound.sock)
        task_status.started(bound.path)
        await _Server(app).run(listener)
    finally:
        bound.release()


class _Server:
    """Talks with whoever connects."""

    def __init__(self, app: Asgi) -> None:
        self._app = app
        self._open: dict[Exchange, tuple[anyio.abc.SocketStream, anyio.CancelScope]] = {}

    async def run(self, listener: anyio.abc.SocketListener) -> None:
        """Serve until cancelled."""
        async with anyio.create_task_group() as group:
            try:
                while True:
                    try:
                        stream = await listener.accept()
                    except OSError:  # of too many descriptors, say
                        await anyio.sleep(_PAUSE)
                        continue
                    group.start_soon(self._talk, stream)
            finally:
                with anyio.CancelScope(shield=True):  # each wait below has its own bound
                    await listener.aclose()
                    await self._close()

    async def _talk(self, stream: anyio.abc.SocketStream) -> None:
        with anyio.CancelScope(shield=True) as scope:  # ended by `_close`
            async with stream:
                exchange = Exchange(stream, self._app)
                if len(self._open) >= MAX_CONNECTIONS:
                    await exchange.refuse(503)
                    return
                self._open[exchange] = stream, scope
                try:
                    await exchange.run()
                finally:
                    del self._open[exchange]

    async def _close(self) -> None:
        for exchange, (_, scope) in list(self._open.items()):
            exchange.finish()
            if exchange.is_idle:
                scope.cancel()
        await self._until_empty(FINISH_TIME)
        for exchange in self._open:
            exchange.cut()
        await self._until_empty(ABORT_TIME)
        for _, scope in self._open.values():
            scope.cancel()
        await self._until_empty(CANCEL_TIME)

    async def _until_empty(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._open:  # noqa: ASYNC110 - a third of a second
                await anyio.sleep(0.01)
