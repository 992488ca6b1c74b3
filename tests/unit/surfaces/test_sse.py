import json
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.surfaces import sse
from orchestra_supervisor.surfaces.sse import SseResponse, encode_event, format_sse
from orchestra_supervisor.surfaces.web import Asgi, Message, Receive, Scope, Send
from tests.unit.surfaces.client import ask, opened, read_to_end, read_until, serving

pytestmark = pytest.mark.anyio

Streams = tuple[MemoryObjectSendStream[str], MemoryObjectReceiveStream[str]]


@pytest.fixture
def streams() -> Generator[Streams]:
    sender, receiver = anyio.create_memory_object_stream[str](10_000)
    with sender, receiver:
        yield sender, receiver


def app_of(streams: Streams, backfill: tuple[str, ...] = ()) -> Asgi:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await SseResponse(streams[1], format_sse, backfill=backfill)(scope, receive, send)

    return app


async def until_closed(sender: MemoryObjectSendStream[str]) -> None:
    with anyio.fail_after(5):
        while sender.statistics().open_receive_streams:
            await anyio.sleep(0.01)


def test_an_event_is_its_seq_its_kind_and_its_json() -> None:
    data = encode_event(Event("service.ready", "web is ready", 12.5, service="web", seq=7))
    lines = data.decode().split("\n")
    assert lines[:2] == ["id: 7", "event: service.ready"]
    assert json.loads(lines[2].removeprefix("data: "))["message"] == "web is ready"
    assert lines[3:] == ["", ""]


@given(
    data=st.text(st.characters(exclude_categories=["Cs"])),
    event=st.text(max_size=10),
    event_id=st.text(max_size=10),
)
def test_no_text_breaks_out_of_its_field(data: str, event: str, event_id: str) -> None:
    encoded = format_sse(data, event=event, event_id=event_id).decode("utf-8")
    assert encoded.endswith("\n\n")
    assert "\r" not in encoded
    block = encoded[:-2].split("\n")
    assert all(line.startswith(("id: ", "event: ", "data: ")) for line in block)
    assert sum(line.startswith("event: ") for line in block) == bool(event)
    received = "\n".join(line[6:] for line in block if line.startswith("data: "))
    assert received == data.replace("\r\n", "\n").replace("\r", "\n")


async def test_what_is_sent_arrives_in_order_after_the_backfill(folder: Path, streams: Streams) -> None:
    sender, _ = streams
    async with serving(app_of(streams, ("old",)), folder / "s") as path:
        client = await opened(path)
        await sender.send("first")
        head = await read_until(client, b"first")
        await sender.send("second")
        sender.close()
        rest = await read_until(client, b"\r\n0\r\n")
        await client.aclose()
    assert b"content-type: text/event-stream" in head.lower()
    assert b"cache-control: no-store" in head.lower()
    assert head.index(b"data: old\n\n") < head.index(b"data: first\n\n")
    assert b"data: second\n\n" in rest


async def test_the_head_comes_before_the_first_event(folder: Path, streams: Streams) -> None:
    async with serving(app_of(streams), folder / "s") as path:
        client = await opened(path)
        assert b"200 OK" in await read_until(client, b"\r\n\r\n")
        await client.aclose()
        await until_closed(streams[0])


async def test_silence_is_broken_by_a_comment(
    folder: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE", 0.02)
    async with serving(app_of(streams), folder / "s") as path:
        client = await opened(path)
        seen = await read_until(client, b": keep-alive\n\n")
        streams[0].send_nowait("after")
        await read_until(client, b"data: after")
        await client.aclose()
    assert b"data:" not in seen


async def test_the_sender_learns_that_the_client_left(folder: Path, streams: Streams) -> None:
    async with serving(app_of(streams), folder / "s") as path:
        client = await opened(path)
        await read_until(client, b"\r\n\r\n")
        await client.aclose()
        await until_closed(streams[0])
    with pytest.raises(anyio.BrokenResourceError):
        streams[0].send_nowait("too late")


async def test_a_client_that_falls_behind_is_told_and_cut_off_without_holding_up_the_sender(
    folder: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "OUTBOX_BYTES", 100_000)
    sender, _ = streams
    async with serving(app_of(streams), folder / "s") as path:
        client = await opened(path)
        await read_until(client, b"\r\n\r\n")
        with anyio.fail_after(5):
            with suppress(anyio.BrokenResourceError):
                for _ in range(10_000):
                    sender.send_nowait("x" * 1000)
                    await checkpoint()
        await until_closed(sender)
        seen = await read_until(client, b"event: overflow\n")
        seen += await read_to_end(client)
        await client.aclose()
    overflow = seen[seen.index(b"event: overflow") :]
    assert b'data: {"dropped":' in overflow
    assert b"xxx" not in overflow


async def test_a_client_that_never_reads_is_cut_off_after_a_grace(
    folder: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "OUTBOX_BYTES", 100_000)
    monkeypatch.setattr(sse, "OVERFLOW_GRACE", 0.1)
    ended = anyio.Event()
    app = app_of(streams)

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            ended.set()

    async with serving(watched, folder / "s") as path:
        client = await opened(path)
        with anyio.fail_after(5):
            while streams[0].statistics().open_receive_streams:
                with suppress(anyio.BrokenResourceError, anyio.WouldBlock):
                    streams[0].send_nowait("x" * 10_000)
                await checkpoint()
            await ended.wait()
        assert b"overflow" not in await read_to_end(client)
        await client.aclose()


async def test_one_large_message_passes_whatever_the_bound(
    folder: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "OUTBOX_BYTES", 1000)
    streams[0].send_nowait("y" * 50_000)
    streams[0].close()
    async with serving(app_of(streams), folder / "s") as path:
        assert b"data: " + b"y" * 50_000 + b"\n\n" in await ask(path)


async def test_a_head_request_ends_at_once(folder: Path, streams: Streams) -> None:
    async with serving(app_of(streams), folder / "s") as path:
        assert b"200 OK" in await ask(path, method="HEAD")
    assert streams[0].statistics().open_receive_streams == 0


async def test_a_server_that_cannot_cut_off_is_left_by_ending_the_answer(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "OUTBOX_BYTES", 10)
    monkeypatch.setattr(sse, "OVERFLOW_GRACE", 0.05)

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    for _ in range(5):
        streams[0].send_nowait("0123456789")
    with anyio.fail_after(3):
        await app_of(streams)({"type": "http", "method": "GET"}, receive, send)
    assert streams[0].statistics().open_receive_streams == 0
