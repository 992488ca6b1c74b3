"""Connections to an HTTP server whose answers are streams of events."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from orchestra_supervisor.gateway.backends.framing import Noise
from orchestra_supervisor.gateway.backends.http_link import HttpLink
from orchestra_supervisor.gateway.backends.http_pool import HttpPool, parse_target
from orchestra_supervisor.gateway.messages import Json

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Server:
    """Answers by a stream; ends each when it is told to, or right away."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.ended = anyio.Event()
        self.ending: anyio.Event | None = None
        """To be waited for before the end of a stream."""

    async def talk(self, stream: SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                while True:
                    received = await stream.receive()
                    head, _, body = received.partition(b"\r\n\r\n")
                    assert head.startswith(b"POST")
                    answer = {
                        "jsonrpc": "2.0",
                        "id": json.loads(body)["id"],
                        "result": {"n": self.connections},
                    }
                    event = b"data: " + json.dumps(answer).encode() + b"\n\n"
                    await stream.send(HEAD + b"%x\r\n%s\r\n" % (len(event), event))
                    if self.ending is not None:
                        await self.ending.wait()
                    await stream.send(b"0\r\n\r\n")
                    self.ended.set()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return
        finally:
            self.open -= 1


def ignore(message: Json) -> None:
    """Take what belongs to no call."""
    del message


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Server, HttpLink, HttpPool]]:
    server = Server()
    with anyio.fail_after(10):
        listening = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listening as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.talk)
            port = listener.extra(SocketAttribute.local_port)
            pool = HttpPool(parse_target(f"http://127.0.0.1:{port}/mcp"))
            yield server, HttpLink(pool, (), ignore, Noise()), pool
            pool.close()
            while server.open:
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()


async def ask(link: HttpLink) -> object:
    call = await link.begin("tools/call", {"name": "echo"})
    message: Json = await call.next()
    call.drop()
    return message["result"]


async def test_a_connection_whose_stream_has_ended_is_used_again() -> None:
    async with serving() as (server, link, _):
        for _ in range(5):
            server.ended = anyio.Event()
            assert await ask(link) == {"n": 1}
            await server.ended.wait()
        assert server.connections == 1


async def test_a_stream_that_does_not_end_is_waited_for_by_nobody() -> None:
    async with serving() as (server, link, _):
        server.ending = anyio.Event()
        assert [await ask(link) for _ in range(3)] == [{"n": 1}, {"n": 2}, {"n": 3}]
        server.ending.set()
        await server.ended.wait()


async def test_no_more_than_a_few_unended_streams_are_kept() -> None:
    async with serving() as (server, link, _):
        server.ending = anyio.Event()
        for _ in range(40):
            await ask(link)
        server.ending.set()  # those that were closed are found so by their next write
        while server.open > 16:
            await anyio.sleep(0.001)
        assert server.connections == 40


async def test_a_closed_pool_keeps_nothing() -> None:
    async with serving() as (server, link, pool):
        server.ending = anyio.Event()
        call = await link.begin("tools/call", {"name": "echo"})
        pool.close()
        assert (await call.next())["result"] == {"n": 1}
        server.ending.set()
        while server.open:
            await anyio.sleep(0.001)
