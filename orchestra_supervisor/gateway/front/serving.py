"""Runs the HTTP front under uvicorn, on a socket that is there already, as one task of the gateway.

uvicorn's Server brings its own loop, signals and ten wake-ups a second; its parts do without. Its protocol
lets a client take its time over the head of a request: ours does not.
"""

import asyncio
import socket
from collections.abc import Callable, Sized
from typing import cast

import anyio
import uvicorn
from anyio.abc import TaskStatus
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from orchestra_supervisor.gateway.front.http import HttpFront
from orchestra_supervisor.gateway.front.request import Connection

__all__ = ["HEAD_TIME", "MAX_CONNECTIONS", "HttpServer"]

HEAD_TIME = 10.0
"""Seconds from the first byte of a request, or from the connection, to the end of its headers."""
MAX_CONNECTIONS = 1024
"""Open connections, above which a request is answered with 503."""
KEEP_ALIVE = 30
"""Seconds that a connection without requests is kept."""

_FLUSH_TIME = 0.3  # seconds that answers get to leave after the end
_CUT_TIME = 0.4  # seconds that requests get after their connection was cut


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, with a deadline for headers, and a word to requests whose client left."""

    _deadline: asyncio.TimerHandle | None = None
    _connection: Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take a connection."""
        super().connection_made(transport)
        self._connection = Connection(lambda: self.flow.write_paused, transport.abort)
        self.app_state = {**self.app_state, "connection": self._connection}
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of it."""
        self._stop_waiting()
        super().connection_lost(exc)
        self._connection.lose()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_TIME, self._cut)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        self._deadline = None
        if not self._is_answering():
            self.transport.close()

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete


class HttpServer:
    """Serves the front on listening sockets.

    Args:
        front: The application.
    """

    def __init__(self, front: HttpFront) -> None:
        self._front = front
        config = uvicorn.Config(
            front,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._server.server_state.connections)

    @property
    def served(self) -> int:
        """Return how many requests were answered so far."""
        return self._server.server_state.total_requests

    async def serve(
        self, listener: socket.socket, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; then nothing is accepted any more, but what is open goes on. See `close`."""
        await self._server.startup(sockets=[listener])
        try:
            task_status.started()
            await anyio.sleep_forever()
        finally:
            for server in self._server.servers:
                server.close()

    async def close(self, seconds: float) -> None:
        """End what is open.

        Args:
            seconds: What requests get to be answered; then they are told to ask again.
        """
        state = self._server.server_state
        self._front.end()
        for connection in list(state.connections):
            connection.shutdown()
        await _until(lambda: not self._front.running, seconds)
        self._front.cancel()
        await _until_empty(state.connections, _FLUSH_TIME)
        for connection in list(state.connections):
            connection.transport.abort()
        await _until_empty(state.tasks, _CUT_TIME)
        for task in list(state.tasks):
            task.cancel()


async def _until_empty(things: Sized, seconds: float) -> None:
    await _until(lambda: not things, seconds)


async def _until(is_met: Callable[[], bool], seconds: float) -> None:
    with anyio.move_on_after(seconds):
        while not is_met():  # noqa: ASYNC110 - uvicorn empties its sets without a word
            await anyio.sleep(0.01)
