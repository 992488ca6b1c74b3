import json
from pathlib import Path

import anyio
import pytest
from anyio.abc import UNIXSocketStream

from orchestra_supervisor.surfaces import exchange
from orchestra_supervisor.surfaces.edge import Json, http_error
from orchestra_supervisor.surfaces.web import Application, Receive, Request, Response, Route, Scope, Send
from tests.unit.surfaces.client import read_to_end, read_until, serving

pytestmark = pytest.mark.anyio

POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /echo?a=1&a=2&b= HTTP/1.1\r\nHost: localhost\r\n"


async def echo(request: Request) -> Response:
    body = b"".join([chunk async for chunk in request.stream()])
    told = {"query": request.query_params, "body": body.decode(), "x": request.headers.get("x-one")}
    return Json(told | dict(request.path_params))


APP = Application(
    [Route("/echo", echo, ("GET", "HEAD", "POST")), Route("/of/{name}/echo", echo), Route("/of/me", echo)],
    http_error,
)


async def talk(folder: Path, *parts: bytes) -> bytes:
    """Send parts one after the other; return all that comes until the server closes."""
    async with serving(APP, folder / "s") as path, await anyio.connect_unix(path) as stream:
        for part in parts:
            await stream.send(part)
            await anyio.wait_all_tasks_blocked()
        return await read_to_end(stream)


def bodies(data: bytes) -> list[dict[str, object]]:
    """Return the content of each answer."""
    return [json.loads(part.split(b"HTTP/1.1")[0]) for part in data.split(b"\r\n\r\n") if part[:1] == b"{"]


async def ended(stream: UNIXSocketStream) -> bool:
    with anyio.fail_after(5):
        try:
            return not await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True


async def test_requests_of_a_connection_are_answered_in_their_order(folder: Path) -> None:
    last = GET + b"X-One: last\r\nConnection: close\r\n\r\n"
    found = bodies(await talk(folder, GET + b"X-One: 1\r\n\r\n" + GET + b"X-One: 2\r\n\r\n", last))
    assert [one["x"] for one in found] == ["1", "2", "last"]


async def test_a_body_comes_by_its_length_or_in_chunks_however_it_is_cut(folder: Path) -> None:
    by_length = POST + b"Content-Length: 6\r\n\r\nab"
    chunked = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nghi\r\n"
    found = await talk(folder, by_length, b"cd", b"ef", chunked, b"2\r\njk", b"\r\n0\r\n\r\n")
    assert [one["body"] for one in bodies(found)] == ["abcdef", "ghijk"]


async def test_who_asks_whether_to_send_a_body_is_told_to(folder: Path) -> None:
    head = POST + b"Connection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    found = await talk(folder, head, b"ok")
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert bodies(found)[0]["body"] == "ok"


async def test_head_gets_the_head_alone(folder: Path) -> None:
    found = await talk(folder, b"HEAD /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head, _, body = found.partition(b"\r\n\r\n")
    assert (b"content-length: " in head, body) == (True, b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\nConnection: close\r\n\r\n", b"404"),
        (b"PUT /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"GET /of//echo HTTP/1.1\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /of/a/b/echo HTTP/1.1\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /echo HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /echo HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"200"),
        (b"GET /echo HTTP/1.1\r\nX: " + b"x" * exchange.HEAD_LIMIT + b"\r\n\r\n", b"400"),
        (b"GET /" + b"x" * exchange.HEAD_LIMIT, b"400"),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n", b"400"),
        ((GET + b"\r\n") * 20, b"400"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said_and_the_connection_closed(
    folder: Path, request_: bytes, status: bytes
) -> None:
    found = await talk(folder, request_)
    assert found.split(b" ", 2)[1] == status


async def test_what_stands_in_the_path_is_unquoted_and_goes_by_its_name(folder: Path) -> None:
    found = await talk(folder, b"GET /of/a%20b/echo HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert bodies(found) == [{"query": {}, "body": "", "x": None, "name": "a b"}]


async def test_of_one_name_the_last_of_the_query_counts_and_an_empty_one_does(folder: Path) -> None:
    found = await talk(folder, GET + b"Connection: close\r\n\r\n")
    assert bodies(found)[0]["query"] == {"a": "2", "b": ""}


async def test_a_connection_without_requests_is_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "KEEP_ALIVE", 0.05)
    async with serving(APP, folder / "s") as path, await anyio.connect_unix(path) as stream:
        await stream.send(GET + b"\r\n")
        assert b"200 OK" in await read_until(stream, b"}")
        assert await ended(stream)


async def test_a_body_that_nobody_read_is_not_taken_for_a_request(folder: Path) -> None:
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b"done", kind="text/plain")(scope, receive, send)

    async with serving(hasty, folder / "s") as path, await anyio.connect_unix(path) as stream:
        await stream.send(POST + b"Content-Length: 200\r\n\r\n" + GET)
        assert (await read_to_end(stream)).count(b"HTTP/1.1") == 1


async def test_an_answer_that_fails_on_its_way_is_cut_off_and_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError("the other half")

    async with serving(failing, folder / "s") as path, await anyio.connect_unix(path) as stream:
        await stream.send(GET + b"\r\n")
        found = await read_to_end(stream)
    assert (b"half" in found, found.endswith(b"0\r\n\r\n")) == (True, False)
    assert "GET /echo: LookupError: the other half" in capsys.readouterr().err


async def test_who_has_left_is_told_to_the_application_and_sent_nothing(folder: Path) -> None:
    seen: list[str] = []
    gone = anyio.Event()

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            seen.append(message["type"])
        await Response(b"nobody hears")(scope, receive, send)
        gone.set()

    async with serving(patient, folder / "s") as path:
        async with await anyio.connect_unix(path) as stream:
            await stream.send(POST + b"Content-Length: 1\r\n\r\nx")
            await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await gone.wait()
    assert seen == ["http.request"]


async def test_above_the_limit_a_connection_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestra_supervisor.surfaces.serve.MAX_CONNECTIONS", 1)
    async with serving(APP, folder / "s") as path, await anyio.connect_unix(path) as first:
        await first.send(GET + b"\r\n")
        await read_until(first, b"}")
        async with await anyio.connect_unix(path) as second:
            assert (await read_to_end(second)).startswith(b"HTTP/1.1 503 ")
        await first.send(GET + b"\r\n")
        assert b"200 OK" in await read_until(first, b"}")
