"""Serves an ASGI application on a Unix socket, as one task of the daemon.

uvicorn's Server brings its own loop, signals and ten wake-ups a second; its parts do without:
this starts and stops them inside a task group, and sleeps in between.
"""

from collections.abc import Sized
from pathlib import Path

import anyio
import uvicorn
from anyio import to_thread
from anyio.abc import TaskStatus
from starlette.types import ASGIApp

from orchestra_supervisor.surfaces.peer import PeerProtocol
from orchestra_supervisor.surfaces.unix_socket import BACKLOG, BoundSocket, bind_unix_socket

__all__ = ["serve_unix"]

FINISH_TIME = 0.3
"""Seconds that answers under way get when the server is cancelled."""
ABORT_TIME = 0.4
"""Seconds that requests get after their connection was cut; then they are cancelled."""
CANCEL_TIME = 0.2
"""Seconds that cancelled requests get."""
MAX_CONNECTIONS = 512
"""Open connections, above which a request is answered with 503."""
KEEP_ALIVE = 30
"""Seconds that a connection without requests is kept."""


async def serve_unix(
    app: ASGIApp,
    path: Path,
    *,
    mode: int = 0o600,
    group: str | None = None,
    task_status: TaskStatus[Path] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; runs on the asyncio backend. Start it with `await tg.start(...)`.

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
        await _serve(app, bound, task_status)
    finally:
        bound.release()


async def _serve(app: ASGIApp, bound: BoundSocket, task_status: TaskStatus[Path]) -> None:
    config = uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[bound.sock])
    try:
        task_status.started(bound.path)
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):  # each wait below has its own bound
            await _close(server)


async def _close(server: uvicorn.Server) -> None:
    state = server.server_state
    for listener in server.servers:
        listener.close()
    for connection in list(state.connections):
        connection.shutdown()
    await _until_empty(state.connections, FINISH_TIME)
    for connection in list(state.connections):
        connection.transport.abort()
    await _until_empty(state.tasks, ABORT_TIME)
    for task in list(state.tasks):
        task.cancel()
    await _until_empty(state.tasks, CANCEL_TIME)


async def _until_empty(things: Sized, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        while things:  # noqa: ASYNC110 - uvicorn empties its sets without a word
            await anyio.sleep(0.01)
