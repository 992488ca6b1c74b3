"""The HTTP server of the interface on real sockets: customs of its clients, and bounds."""

import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import pytest

from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.supervisord import ServerSpec
from orchestra_supervisor.surfaces.xmlrpc import exchange, server
from orchestra_supervisor.surfaces.xmlrpc.exchange import BODY_LIMIT, Answer, Request
from orchestra_supervisor.surfaces.xmlrpc.server import Server, listening

pytestmark = pytest.mark.anyio


class Desk:
    """A handler that can be told to wait, and notes what became of it."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.said: list[str] = []
        self.left = anyio.Event()
        self.go = anyio.Event()
        self.begun = anyio.Event()

    async def handle(self, request: Request) -> Answer:
        self.seen.append(request)
        match request.path:
            case "/wait":
                self.begun.set()
                try:
                    await self.go.wait()
                except anyio.get_cancelled_exc_class():
                    self.left.set()
                    raise
                return Answer(200, b"waited")
            case "/tail":
                return Answer(200, self.ticks())
            case "/broken":
                raise ValueError("a fault of ours")
            case _:
                return Answer(200, request.body or b"hello", headers={"X-Own": "1"})

    async def ticks(self) -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await self.go.wait()
            yield b"two"
        finally:
            self.left.set()


@asynccontextmanager
async def serving(folder: Path) -> AsyncGenerator[Desk]:
    desk = Desk()
    spec = ServerSpec(path=str(folder / "s"), mode=0o600)
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(15))
        listener = await stack.enter_async_context(listening(spec))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(Server(desk.handle, "here", desk.said.append).run, listener)
        yield desk
        tasks.cancel_scope.cancel()


async def opened(folder: Path, data: bytes = b"") -> anyio.abc.SocketStream:
    stream = await anyio.connect_unix(folder / "s")
    if data:
        await stream.send(data)
    return stream


async def until(stream: anyio.abc.SocketStream, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += await stream.receive()
    return seen


async def rest(stream: anyio.abc.SocketStream) -> bytes:
    seen = b""
    try:
        while True:
            seen += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return seen


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


async def test_a_connection_is_kept_over_requests_empty_lines_and_requests_sent_ahead(folder: Path) -> None:
    async with serving(folder) as desk, await opened(folder) as stream:
        for _ in range(2):
            await stream.send(b"\r\n\r\n" + get("/a?query"))
            assert (await until(stream, b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
        await stream.send(get("/b") + b"\r\n" + get("/c") + get("/d", "Connection: close\r\n"))
        assert (await rest(stream)).count(b"hello") == 3
    assert [one.path for one in desk.seen] == ["/a", "/a", "/b", "/c", "/d"]
    assert desk.said == []


async def test_a_body_comes_whole_however_it_is_cut_or_coded(folder: Path) -> None:
    async with serving(folder) as desk, await opened(folder) as stream:
        for piece in (b"POST / HTTP/1.1\r\nHo", b"st: x\r\nContent-Length: 6\r\n", b"\r\nab", b"cd", b"ef"):
            await stream.send(piece)
            await anyio.sleep(0.01)
        await until(stream, b"abcdef")
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        await stream.send(head)
        await until(stream, b"100 Continue\r\n\r\n")
        await stream.send(b"2\r\nxy\r\n0\r\n\r\n")
        await until(stream, b"xy")
    assert [one.body for one in desk.seen] == [b"abcdef", b"xy"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"what is this\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * 20_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (BODY_LIMIT + 1), b"413"),
    ],
)
async def test_what_is_no_request_or_too_large_a_one_is_refused(
    folder: Path, data: bytes, status: bytes
) -> None:
    async with serving(folder) as desk, await opened(folder) as stream:
        with anyio.move_on_after(5):
            with suppress(anyio.BrokenResourceError):
                await stream.send(data)
            answer = await rest(stream)
            assert answer == b"" or answer.split()[1] in {status, b"400"}
    assert desk.seen == []


async def test_a_handler_is_stopped_when_its_client_leaves(folder: Path) -> None:
    async with serving(folder) as desk:
        async with await opened(folder, get("/wait")):
            await desk.begun.wait()
        await desk.left.wait()


async def test_an_endless_answer_is_chunked_and_ends_with_its_client(folder: Path) -> None:
    async with serving(folder) as desk:
        # supervisord's own client ends the request with an empty line too many.
        async with await opened(folder, get("/tail") + b"\r\n") as stream:
            head = await until(stream, b"3\r\none\r\n")
            assert b"transfer-encoding: chunked" in head.lower()
            assert b"connection: close" in head.lower()
            desk.go.set()
            assert await rest(stream) == b"3\r\ntwo\r\n0\r\n\r\n"
        desk.left = anyio.Event()
        desk.go = anyio.Event()
        async with await opened(folder, get("/tail")) as stream:
            await until(stream, b"one")
        await desk.left.wait()


async def test_a_fault_of_ours_ends_one_connection_and_is_told(folder: Path) -> None:
    async with serving(folder) as desk:
        async with await opened(folder, get("/broken")) as stream:
            assert await rest(stream) == b""
        async with await opened(folder, get("/")) as stream:
            await until(stream, b"hello")
    assert len(desk.said) == 1
    assert "here: a connection failed" in desk.said[0]


async def test_who_is_too_slow_with_a_request_is_cut_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "REQUEST_TIME", 0.1)
    async with serving(folder):
        async with await opened(folder) as silent:
            assert await rest(silent) == b""
        async with await opened(folder, b"GET / HT") as slow:
            assert await rest(slow) == b""


async def test_who_does_not_take_his_answer_is_cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SEND_TIME", 0.2)
    body = b"x" * BODY_LIMIT
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(folder) as desk, await opened(folder) as stream:
        await stream.send(request + body)
        await anyio.sleep(0.6)
        taken = await rest(stream)
        assert 0 < len(taken) < BODY_LIMIT
        assert len(desk.seen) == 1


async def test_of_too_many_connections_the_longest_idle_one_makes_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    async with (
        serving(folder) as desk,
        await opened(folder, get("/")) as first,
        await opened(folder, get("/")) as second,
    ):
        await until(first, b"hello")
        await until(second, b"hello")
        async with await opened(folder, get("/wait")) as third:
            await desk.begun.wait()
            assert await rest(first) == b""
            desk.begun = anyio.Event()
            await second.send(get("/wait"))
            await desk.begun.wait()
            async with await opened(folder, get("/")) as fourth:
                assert (await rest(fourth)).startswith(b"HTTP/1.1 503 ")
            desk.go.set()
            await until(third, b"waited")
            await until(second, b"waited")


async def test_an_answer_under_way_is_sent_when_the_server_ends(folder: Path) -> None:
    async with serving(folder) as desk:
        stream = await opened(folder, get("/wait"))
        idle = await opened(folder)
        await desk.begun.wait()
        desk.go.set()
    async with stream, idle:
        assert (await rest(stream)).endswith(b"waited")
        assert await rest(idle) == b""
    assert not (folder / "s").exists()


async def test_the_socket_has_its_mode_and_a_port_that_is_taken_is_named(folder: Path) -> None:
    async with listening(ServerSpec(path=str(folder / "s"), mode=0o620)):
        assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o620
        with pytest.raises(ConflictError, match="answers there"):
            async with listening(ServerSpec(path=str(folder / "s"))):
                pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=f"http://127.0.0.1:{port}: the port cannot be listened on"):
            async with listening(ServerSpec(host="127.0.0.1", port=port)):
                pass
    with pytest.raises(ConflictError, match="too long"):
        async with listening(ServerSpec(path=f"/{'x' * 120}")):
            pass
