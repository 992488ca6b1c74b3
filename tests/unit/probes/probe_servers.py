"""Little servers that answer as told, in the event loop of the test."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketStream


@dataclass
class Server:
    host: str
    port: int
    requests: list[bytes] = field(default_factory=list[bytes])

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/health"


Handler = Callable[[SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncGenerator[Server]:
    """Accept connections, read each one's request head, and hand it to the handler."""
    listener = await anyio.create_tcp_listener(local_host=host, local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    server = Server(host, port)

    async def handle(stream: SocketStream) -> None:
        async with stream:
            head = b""
            try:
                while b"\r\n\r\n" not in head:
                    head += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return  # a tcp check says nothing
            server.requests.append(head)
            try:
                await handler(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # the check had heard enough

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield server
        group.cancel_scope.cancel()


def answers(*pieces: bytes) -> Handler:
    """Send the pieces one by one, then close."""

    async def handler(stream: SocketStream) -> None:
        for piece in pieces:
            await stream.send(piece)

    return handler
