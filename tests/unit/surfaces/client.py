"""A bare HTTP client over a Unix socket, and the server it talks to."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import UNIXSocketStream

from orchestra_supervisor.surfaces.serve import serve_unix
from orchestra_supervisor.surfaces.web import Asgi


@asynccontextmanager
async def serving(
    app: Asgi, path: Path, *, mode: int = 0o600, group: str | None = None
) -> AsyncGenerator[Path]:
    """Serve for the time of the block; the server must be gone a second after it."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            yield await tasks.start(partial(serve_unix, app, path, mode=mode, group=group))
            tasks.cancel_scope.cancel()


async def ask(path: str | os.PathLike[str], target: str = "/", method: str = "GET") -> bytes:
    """Send one request and return the whole answer."""
    with anyio.fail_after(5):
        async with await opened(path, target, method) as stream:
            return await read_to_end(stream)


async def opened(path: str | os.PathLike[str], target: str = "/", method: str = "GET") -> UNIXSocketStream:
    """Send one request and return the connection."""
    stream = await anyio.connect_unix(path)
    await stream.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return stream


async def read_until(stream: UNIXSocketStream, wanted: bytes) -> bytes:
    """Read until something has come."""
    seen = b""
    with anyio.fail_after(5):
        while wanted not in seen:
            seen += await stream.receive()
    return seen


async def read_to_end(stream: UNIXSocketStream) -> bytes:
    """Read until the server closes or cuts off."""
    seen = b""
    with anyio.fail_after(5):
        try:
            while True:
                seen += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return seen
