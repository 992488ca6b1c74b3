"""The daemon's stream of events, however its bytes are cut."""

import json
import socket
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.listeners.feed import EventFeed, FeedLost, StreamDecoder

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(seq: int) -> bytes:
    return f'id: {seq}\nevent: service.ready\ndata: {{"seq":{seq},"message":"d\u00e5ta"}}\n\n'.encode()


WHOLE = (
    HEAD
    + chunk(event(1) + event(2))
    + chunk(b": keep-alive\n\n")
    + chunk(event(3)[:20])
    + chunk(event(3)[20:])
)


@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=10))
def test_events_come_out_as_they_went_in(cuts: list[int]) -> None:
    decoder, found = StreamDecoder(), list[object]()
    places = [0, *sorted(cuts), len(WHOLE)]
    for start, end in pairwise(places):
        found += [one["seq"] for one in decoder.feed(WHOLE[start:end])]
    assert found == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n", "no stream: http/1.1 503 busy"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "no stream"),
        (HEAD + b"zz\r\n", "no chunk"),
        (HEAD + chunk(b'event: overflow\ndata: {"dropped": 3}\n\n'), "it came too fast"),
        (HEAD + chunk(b"data: {\n\n"), "not JSON"),
        (HEAD + chunk(b"data: 3\n\n"), "no object"),
        (HEAD + chunk(b"data: " + b"x" * (17 * 1024 * 1024)), "too long"),
        (HEAD + b"0\r\n\r\n", "ended the stream"),
    ],
)
def test_what_is_no_stream_of_events_is_given_up(data: bytes, text: str) -> None:
    with pytest.raises(FeedLost, match=text):
        StreamDecoder().feed(data)


def test_it_asks_for_what_comes_after_a_number_and_never_waits(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with pytest.raises(OSError, match="No such file"):
        EventFeed(path, 0)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        feed = EventFeed(path, 41)
        one, _ = door.accept()
        with one:
            assert one.recv(4096).split(b"\r\n")[0] == b"GET /v1/events/stream?after=41 HTTP/1.1"
            assert feed.read() == []
            one.sendall(WHOLE)
            assert [found["seq"] for found in feed.read()] == [1, 2, 3]
            assert json.dumps(feed.read()) == "[]"
        with pytest.raises(FeedLost, match="went away"):
            feed.read()
        feed.close()
        feed.close()
