"""The bytes of an event stream become events, however they were split."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.backends.link import MESSAGE_LIMIT
from orchestra_supervisor.gateway.backends.sse import EventDecoder, SseEvent, TooLong

STREAM = (
    b": comment\r\nid: 1\r\ndata: {\r\ndata:  1}\r\n\r\n"
    b"event: other\rdata: x\r\r"
    b"retry: 250\nid: 2\ndata:\n\n"
    b"id: lost\0\ndata: \xc3\xa4\n\ndata: unfinished"
)
EVENTS = [
    SseEvent("message", "{\n 1}", "1"),
    SseEvent("other", "x", "1"),
    SseEvent("message", "", "2"),
    SseEvent("message", "ä", "2"),
]


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=12))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    decoder = EventDecoder()
    places = [0, *sorted(cuts), len(STREAM)]
    found = [e for a, b in pairwise(places) for e in decoder.feed(STREAM[a:b])]
    assert found == EVENTS
    assert decoder.retry == 0.25
    assert decoder.last_id == "2"


def test_an_event_over_the_limit_is_refused() -> None:
    decoder = EventDecoder()
    list(decoder.feed(b"data: " + b"x" * MESSAGE_LIMIT))
    with pytest.raises(TooLong):
        list(decoder.feed(b"x" * MESSAGE_LIMIT))
