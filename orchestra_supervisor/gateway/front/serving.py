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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from orchestra_supervisor.gateway.front.http import HttpFront
from orchestra_supervisor.gateway.front.request import Connection

__all__ = ["HEAD_TIME", "MAX_CONNECTIONS", "MAX_HEAD", "HttpServer"]

HEAD_TIME = 10.0
"""Seconds from the first byte of a request, or from the connection, to the end of its headers."""
MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers."""
MAX_CONNECTIONS = 1024
"""Open connections, above which a request is answered with 503."""
KEEP_ALIVE = 30
"""Seconds that a connection without requests is kept."""

_FLUSH_TIME = 0.3  # seconds that answers get to leave after the end
_CUT_TIME = 0.4  # seconds that requests get after their connection was cut


class _Gathering(asyncio.Transport):
    """A transport that writes what is written to it in one step of the loop at once.

    uvicorn writes the head of an answer and its body one after the other: two system calls and two segments,
    which is most of what a short answer costs.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self._planned: asyncio.Handle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write at the end of this step."""
        if not data:
            return
        if not self._waiting:
            self._planned = self._loop.call_soon(self.flush)
        self._waiting.append(bytes(data))

    def close(self) -> None:
        """Write what waits, then close."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._waiting.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Return whether it is closed, or being closed."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take no more from the client."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def flush(self) -> None:
        """Write what waits."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        if self._waiting and not self._transport.is_closing():
            self._transport.write(b"".join(self._waiting))
        self._waiting.clear()


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with bounds to headers in time and size; tells requests that their client left."""

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _connection: Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take a connection."""
        gathering = _Gathering(transport, self.loop)
        super().connection_made(gathering)
        plug = cast("socket.socket | None", transport.get_extra_info("socket"))
        if plug is not None:
            # asyncio leaves it out for some inherited sockets: an event would wait 40 ms for another's ACK.
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = Connection(
            lambda: self.flow.write_paused,
            transport.abort,
            is_arriving=self._is_arriving,
            flush=gathering.flush,
        )
        self.app_state = {**self.app_state, "connection": self._connection}
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()
        elif not self.transport.is_closing():
            if self._deadline is None:
                self._await_head()
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.send_400_response(f"The head of a request has at most {MAX_HEAD} bytes.")

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
        self._head_bytes = 0

    def _cut(self) -> None:
        self._deadline = None
        if not self._is_answering():
            self.transport.close()

    def _is_arriving(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.more_body or bool(self.pipeline)

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
