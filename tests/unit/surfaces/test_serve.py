# ruff: noqa: ASYNC240 - a test may block its own loop

import grp
import json
import os
import signal
import socket
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.model.errors import ConfigError, ConflictError, OrchestraError
from orchestra_supervisor.surfaces.peer import peer_of
from orchestra_supervisor.surfaces.serve import serve_unix
from orchestra_supervisor.surfaces.unix_socket import MAX_SOCKET_PATH, bind_unix_socket, place_socket
from orchestra_supervisor.unix_peer import Peer
from tests.unit.surfaces.client import ask, opened, read_to_end, read_until, serving

pytestmark = pytest.mark.anyio


async def whoami(request: Request) -> Response:
    peer = peer_of(request.scope)
    assert peer is not None
    return JSONResponse({"pid": peer.pid, "uid": peer.uid, "gid": peer.gid, "groups": peer.groups})


async def endless(_request: Request) -> Response:
    async def ticks():
        while True:
            yield b": tick\n\n"
            await anyio.sleep(0.01)

    return StreamingResponse(ticks(), media_type="text/event-stream")


async def slow(_request: Request) -> Response:
    await anyio.sleep(0.1)
    return PlainTextResponse("finished")


APP = Starlette(routes=[Route("/", whoami), Route("/endless", endless), Route("/slow", slow)])


async def test_the_caller_is_known_by_the_kernels_word(folder: Path) -> None:
    async with serving(APP, folder / "control.sock") as path:
        head, _, body = (await ask(path)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    told = json.loads(body)
    assert (told["pid"], told["uid"], told["gid"]) == (os.getpid(), os.geteuid(), os.getegid())
    assert set(told["groups"]) == set(os.getgroups())


def test_without_a_servers_word_nobody_is_known() -> None:
    assert peer_of({}) is None
    assert peer_of({"state": {"peer": "root"}}) is None
    assert peer_of({"state": {"peer": None}}) is None
    assert peer_of({"state": {"peer": Peer(1, 2, 3)}}) == Peer(1, 2, 3)


@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_the_socket_has_its_mode_whatever_the_umask(folder: Path, mode: int) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    for umask in (0, 0o777):
        old = os.umask(umask)
        try:
            async with serving(APP, folder / "control.sock", mode=mode, group=group) as path:
                found = path.stat()
        finally:
            os.umask(old)
        assert found.st_mode & 0o777 == mode
        assert found.st_gid == os.getegid()


async def test_nothing_is_left_when_the_server_ends(folder: Path) -> None:
    async with serving(APP, folder / "control.sock"):
        assert [file.name for file in folder.iterdir()] == ["control.sock"]
    assert list(folder.iterdir()) == []


async def test_what_a_dead_daemon_left_is_replaced(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (folder / "control.path").write_text("/nowhere\n", encoding="utf-8")
    async with serving(APP, path):
        assert (await ask(path)).startswith(b"HTTP/1.1 200")
        assert not (folder / "control.path").exists()


async def test_a_daemon_that_answers_is_not_replaced(folder: Path) -> None:
    path = folder / "control.sock"
    async with serving(APP, path):
        with pytest.raises(ConflictError, match="another daemon answers") as caught:
            await serve_unix(APP, path)
        assert caught.value.hint
        assert (await ask(path)).startswith(b"HTTP/1.1 200")


async def test_a_file_that_is_no_socket_is_refused_and_kept(folder: Path) -> None:
    path = folder / "control.sock"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(ConflictError, match="not a socket"):
        await serve_unix(APP, path)
    assert path.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    ("where", "group", "kind"),
    [("missing/control.sock", None, ConflictError), ("control.sock", "no-such-group-here", ConfigError)],
)
async def test_what_cannot_be_made_is_refused_with_a_hint(
    folder: Path, where: str, group: str | None, kind: type[OrchestraError]
) -> None:
    with pytest.raises(kind) as caught:
        await serve_unix(APP, folder / where, group=group)
    assert caught.value.hint
    assert list(folder.iterdir()) == []


async def test_a_path_over_the_limit_is_served_under_a_short_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    home = tmp_path / ("h" * MAX_SOCKET_PATH)
    home.mkdir()
    async with serving(APP, home / "control.sock") as path:
        assert Path((home / "control.path").read_text(encoding="utf-8").strip()) == path
        assert path.is_relative_to(folder)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert (await ask(path)).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConflictError):
            await serve_unix(APP, home / "control.sock")
        assert (home / "control.path").exists()
    assert list(home.iterdir()) == []
    assert list(folder.iterdir()) == []


async def test_a_short_path_that_cannot_be_made_known_is_not_served(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    home = tmp_path / ("h" * MAX_SOCKET_PATH)
    (home / "control.path").mkdir(parents=True)
    with pytest.raises(ConflictError, match="cannot be made"):
        await serve_unix(APP, home / "control.sock")
    assert [file.name for file in home.iterdir()] == ["control.path"]
    assert list(folder.iterdir()) == []


async def test_a_short_place_that_somebody_else_prepared_is_not_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (folder / "orchestra").symlink_to(elsewhere)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    home = tmp_path / ("h" * MAX_SOCKET_PATH)
    home.mkdir()
    bound = bind_unix_socket(home / "control.sock")
    bound.release()
    assert not bound.path.is_relative_to(folder)
    assert list(elsewhere.iterdir()) == []


async def test_cancellation_ends_endless_streams_and_idle_clients_within_a_second(folder: Path) -> None:
    path = folder / "control.sock"
    async with serving(APP, path):
        streaming = await opened(path, "/endless")
        idle = await anyio.connect_unix(path)
        await read_until(streaming, b"tick")
        started = anyio.current_time()
    assert anyio.current_time() - started < 1.5
    await read_to_end(streaming)
    assert await read_to_end(idle) == b""
    await streaming.aclose()
    await idle.aclose()
    assert not path.exists()


async def test_an_answer_under_way_is_finished_before_the_end(folder: Path) -> None:
    path = folder / "control.sock"
    async with serving(APP, path):
        stream = await opened(path, "/slow")
        await anyio.sleep(0.02)
    assert b"finished" in await read_until(stream, b"finished")
    await stream.aclose()


async def test_a_request_that_heeds_nothing_is_cancelled(folder: Path) -> None:
    ended = anyio.Event()

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(30)
        finally:
            ended.set()

    path = folder / "control.sock"
    async with serving(deaf, path):
        stream = await opened(path)
        await anyio.sleep(0.02)
        started = anyio.current_time()
    assert anyio.current_time() - started < 1.5
    assert ended.is_set()
    await stream.aclose()


async def test_signal_handlers_stay_the_daemons(folder: Path) -> None:
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    async with serving(APP, folder / "control.sock") as path:
        await ask(path)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_the_socket_of_a_newer_daemon_is_not_removed(folder: Path) -> None:
    path = folder / "control.sock"
    async with serving(APP, path):
        path.unlink()
        newer = bind_unix_socket(path)
    assert path.exists()
    newer.release()
    assert not path.exists()


async def test_a_hundred_clients_are_served_at_once(folder: Path) -> None:
    path = folder / "control.sock"
    streams: list[bytes] = []

    async def client() -> None:
        streams.append(await ask(path))

    async with serving(APP, path), anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(client)
    assert len(streams) == 100
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in streams)


async def test_garbage_is_answered_and_harms_nobody(folder: Path) -> None:
    async with serving(APP, folder / "control.sock") as path:
        async with await anyio.connect_unix(path) as stream:
            await stream.send(b"\x00\xff not http\r\n\r\n")
            assert b"400" in await read_until(stream, b"\r\n\r\n")
        assert (await ask(path)).startswith(b"HTTP/1.1 200")


def test_a_socket_that_the_keeper_opens_has_a_place_within_the_systems_limit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    home = tmp_path / ("h" * MAX_SOCKET_PATH)
    home.mkdir()
    place = place_socket(home / "mcp.sock")
    assert place.is_relative_to(folder)
    assert len(os.fsencode(place)) <= MAX_SOCKET_PATH
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert socket_path(home, "mcp") == str(place)
    assert place_socket(home / "mcp.sock") == place, "the same one again"


def test_a_socket_whose_place_fits_needs_no_pointer(folder: Path) -> None:
    (folder / "mcp.path").write_text("/nowhere\n", encoding="utf-8")
    assert place_socket(folder / "mcp.sock") == folder / "mcp.sock"
    assert socket_path(folder, "mcp") == str(folder / "mcp.sock")


def test_a_socket_for_a_group_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="there is no group 'no-such-group'"):
        place_socket(folder / "mcp.sock", "no-such-group")
