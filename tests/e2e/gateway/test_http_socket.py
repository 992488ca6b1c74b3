"""Kept connections on real sockets: what they do to the loop that they share."""

import socket
import threading
from collections.abc import Generator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestra_supervisor.gateway.backends.http_pool import parse_target
from orchestra_supervisor.gateway.backends.http_socket import ByteStream, dial

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def listener() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


async def connected(listener: socket.socket) -> tuple[ByteStream, socket.socket]:
    stream = await dial(parse_target(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
    return stream, listener.accept()[0]


async def test_who_floods_us_does_not_keep_the_loop_for_himself(listener: socket.socket) -> None:
    stream, other = await connected(listener)

    def flood() -> None:
        with other:
            try:
                while True:
                    other.sendall(b"x" * 65536)
            except OSError:
                return  # we have hung up

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        with anyio.move_on_after(0.2) as deadline:
            while True:
                assert await stream.receive()
        assert deadline.cancelled_caught
    finally:
        stream.close()
        flooding.join(10.0)
    assert not flooding.is_alive()


async def test_closing_wakes_who_waits(listener: socket.socket) -> None:
    stream, other = await connected(listener)
    caught: list[OSError] = []

    async def wait() -> None:
        try:
            await stream.receive()
        except OSError as error:
            caught.append(error)

    with other, anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            stream.close()
    assert [error.strerror for error in caught] == ["closed here"]


async def test_a_connection_that_nobody_reads_costs_nothing_when_something_comes(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, other = await connected(listener)
    with other, anyio.fail_after(10):
        other.sendall(b"a")
        assert await stream.receive() == b"a"
        async with anyio.create_task_group() as tasks:  # it is registered with the loop now, and stays so
            tasks.start_soon(stream.receive)
            await anyio.wait_all_tasks_blocked()
            other.sendall(b"b")
        calls: list[None] = []
        called = type(stream)._called  # type: ignore[attr-defined]
        monkeypatch.setattr(type(stream), "_called", lambda self: (calls.append(None), called(self)))
        other.sendall(b"c")
        other.shutdown(socket.SHUT_WR)
        while not stream.is_stale:
            await checkpoint()
        for _ in range(20):
            await checkpoint()
        assert len(calls) <= 1
        assert await stream.receive() == b"c"
        assert await stream.receive() == b""
    stream.close()
