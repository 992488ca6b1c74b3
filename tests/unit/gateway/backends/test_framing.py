"""Lines of a server's stdout become messages, however they were split and whatever else is there."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.backends.framing import LineDecoder, Noise, Oversized, encode
from orchestra_supervisor.gateway.messages import Json

MESSAGES: list[Json] = [
    {"jsonrpc": "2.0", "id": "o1-1", "result": {"text": "häl\nlo"}},
    {"jsonrpc": "2.0", "method": "notifications/message", "params": {}},
    {"jsonrpc": "2.0", "id": "o1-2", "error": {"code": 1, "message": "no"}},
]
STREAM = b"Welcome!\n" + b"".join(encode(one) for one in MESSAGES) + b"\r\n[1]\n{broken\n\xff\xfe\n"


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=12))
def test_any_split_gives_the_same_messages(cuts: list[int]) -> None:
    noise = Noise()
    decoder = LineDecoder(noise, "o1-")
    places = [0, *sorted(cuts), len(STREAM)]
    found = [m for a, b in pairwise(places) for m in decoder.feed(STREAM[a:b])]
    assert found == MESSAGES
    assert noise == Noise(lines=4)


@given(st.integers(min_value=1, max_value=400), st.booleans())
def test_a_line_over_the_limit_is_refused_with_its_id_and_the_next_is_read(
    step: int, is_id_first: bool
) -> None:
    parts = ['"id":"o1-7"', '"result":"' + "x" * 900 + '"']
    line = "{" + ",".join(parts if is_id_first else reversed(parts)) + "}\n"
    stream = line.encode() + encode(MESSAGES[0])
    decoder = LineDecoder(Noise(), "o1-", limit=800)
    found = [m for at in range(0, len(stream), step) for m in decoder.feed(stream[at : at + step])]
    assert found == [Oversized("o1-7", len(line) - 1), MESSAGES[0]]


def test_a_message_is_one_line_of_ascii() -> None:
    line = encode({"text": "ä\n\u2028\ud800"})
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert json.loads(line) == {"text": "ä\n\u2028\ud800"}
