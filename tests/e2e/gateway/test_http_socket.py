"""Kept connections on real sockets: what they do to the loop that they share."""

import contextlib
import socket
import struct
from collections.abc import Generator

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

from orchestra_supervisor.gateway.backends.http_pool import HttpPool, parse_target
from orchestra_supervisor.gateway.backends.http_socket import ByteStream, dial
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble

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


async def test_who_sends_much_does_not_keep_the_loop_for_himself(listener: socket.socket) -> None:
    stream, other = await connected(listener)
    sent = turns = taken = 0
    with other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sent < 4_000_000:
                sent += other.send(b"x" * 65536)
        assert sent > 20 * 65536  # nothing has to be waited for

        async def count_turns() -> None:
            nonlocal turns
            while taken < sent:
                turns += 1
                await checkpoint()

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(count_turns)
                while taken < 20 * 65536:
                    taken += len(await stream.receive())
                tasks.cancel_scope.cancel()
    stream.close()
    assert turns > 1


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
        other.sendall(b"c")
        other.shutdown(socket.SHUT_WR)
        while not stream.is_stale:
            await checkpoint()
        for _ in range(3):
            await checkpoint()
        with monkeypatch.context() as patched:
            patched.setattr(type(stream), "_called", lambda _: pytest.fail("the loop still calls"))
            for _ in range(20):
                await checkpoint()
        assert await stream.receive() == b"c"
        assert await stream.receive() == b""
    stream.close()


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_server_that_hangs_up_instead_of_speaking_tls_is_lost(is_reset: bool) -> None:
    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            if is_reset:
                plug = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.receive()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, hang_up)
            with anyio.fail_after(5), pytest.raises(LinkError, match="cannot connect") as caught:
                await HttpPool(parse_target(f"https://127.0.0.1:{port}/mcp")).send("GET", (), b"")
            assert (caught.value.trouble, caught.value.was_sent) == (Trouble.LOST, False)
            group.cancel_scope.cancel()
