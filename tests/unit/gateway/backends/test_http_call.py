"""A call over HTTP whose stream breaks off: taken up where it was, and its connections are let go of."""

from collections import deque
from typing import cast

import anyio
import pytest

from orchestra_supervisor.gateway.backends.framing import Noise
from orchestra_supervisor.gateway.backends.http_call import HttpCall
from orchestra_supervisor.gateway.backends.http_link import HttpLink
from orchestra_supervisor.gateway.backends.http_pool import HttpPool, Response
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.messages import Json

pytestmark = pytest.mark.anyio

ANSWER = b'id: 2\ndata: {"jsonrpc": "2.0", "id": "o1-1", "result": {}}\n\n'


class Stream:
    """A response: its pieces, then its end."""

    status = 200
    content_type = "text/event-stream"

    def __init__(self, *pieces: bytes | LinkError, is_silent: bool = False) -> None:
        self.pieces = deque(pieces)
        self.is_closed = False
        self._is_silent = is_silent

    async def head(self) -> None:
        if self._is_silent:
            await anyio.sleep_forever()

    async def chunk(self) -> bytes:
        piece = self.pieces.popleft() if self.pieces else b""
        if isinstance(piece, LinkError):
            raise piece
        return piece

    async def body(self) -> bytes:
        return await self.chunk()

    def leave(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


async def test_a_stream_is_taken_up_again_though_the_last_one_brought_nothing() -> None:
    streams = deque([Stream(LinkError(Trouble.LOST, "broke")), Stream(), Stream(ANSWER)])
    asked: list[str] = []

    async def resume(last_id: str) -> Response:
        asked.append(last_id)
        return cast("Response", streams.popleft())

    async def on_head(_: Response) -> Json | None:
        return None

    async def respond(_: Json) -> None:
        raise AssertionError

    call = HttpCall(
        "o1-1",
        cast("Response", Stream(b"id: 1\nretry: 0\ndata: \n\n")),
        on_head=on_head,
        respond=respond,
        resume=resume,
        cancel=lambda _call, _reason: None,
    )
    assert (await call.next())["result"] == {}
    assert asked == ["1", "1", "1"]


class Pool:
    """Gives one response, whatever it is asked."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def send(self, method: str, headers: object, body: bytes) -> Stream:
        return self.stream


async def test_nothing_stays_open_of_a_call_that_is_cancelled_while_it_is_taken_up_again() -> None:
    stream = Stream(is_silent=True)
    link = HttpLink(cast("HttpPool", Pool(stream)), (), lambda _: None, Noise())
    with anyio.move_on_after(0.01):
        await link._resume("1")
    assert stream.is_closed


async def test_a_server_that_does_not_take_a_message_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestra_supervisor.gateway.backends.http_link._POST_LIMIT", 0.01, raising=False)
    stream = Stream(is_silent=True)
    link = HttpLink(cast("HttpPool", Pool(stream)), (), lambda _: None, Noise())
    with anyio.fail_after(5), pytest.raises(LinkError, match="did not take a message within") as caught:
        await link.notify("notifications/roots/list_changed", {})
    assert (caught.value.trouble, stream.is_closed) == (Trouble.FAULT, True)
