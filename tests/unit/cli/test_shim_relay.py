"""What the pump decides, line by line; with real gateways it is tested in tests/e2e/cli/test_mcp_shim.py."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.cli.shim.absence import Absence
from orchestra_supervisor.cli.shim.messages import MAX_MESSAGE, answer_key, encode, key_of
from orchestra_supervisor.cli.shim.pump import LineBuffer
from orchestra_supervisor.cli.shim.relay import Relay

Json = dict[str, Any]
HELLO = b'{"orchestra":1}\n'
NOBODY = Absence("nobody", "wait", is_passing=True)


class Bench:
    """A relay, and both of its sides."""

    def __init__(self) -> None:
        self.relay = Relay(HELLO, is_control=True)

    def client(self, **message: Any) -> None:
        self.relay.from_client(json.dumps({"jsonrpc": "2.0", **message}).encode(), 0.0)

    def gateway(self, **message: Any) -> None:
        self.relay.from_gateway(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def sent(self) -> list[Json]:
        """Return what goes out now, all of it."""
        lines: list[Json] = []
        while (line := self.relay.next_line()) is not None:
            lines.append(json.loads(line))
            self.relay.line_sent()
        return lines

    def told(self) -> list[Json]:
        """Return what the client is told."""
        lines = [json.loads(line) for line in self.relay.to_client]
        self.relay.to_client.clear()
        return lines

    def connect(self) -> list[Json]:
        self.relay.connected()
        return self.sent()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_error_by_which_a_gateway_ends_is_not_told_but_asked_again(bench: Bench) -> None:
    bench.connect()
    bench.client(id=1, method="tools/list")
    bench.client(id=2, method="tools/call")
    bench.sent()
    ends = {"code": -32000, "message": "the gateway is being restarted: ask again"}
    bench.gateway(id=1, error=ends)
    bench.gateway(id=2, error=ends)
    assert bench.told() == [{"jsonrpc": "2.0", "id": 2, "error": ends}]
    assert bench.relay.holds_answers()
    assert bench.relay.lost() is None
    assert [one.get("id") for one in bench.connect()] == [None, 1]
    bench.gateway(id=1, error=ends)
    bench.relay.release()  # this one ran on
    assert bench.told() == [{"jsonrpc": "2.0", "id": 1, "error": ends}]


def test_a_line_that_was_not_sent_whole_is_sent_again_whatever_it_asks(bench: Bench) -> None:
    bench.connect()
    bench.client(id=1, method="tools/call")
    assert bench.relay.next_line() is not None  # some of it is on its way
    assert bench.relay.lost() is None
    assert bench.told() == []
    assert [one.get("id") for one in bench.connect()] == [None, 1]


def test_a_session_that_is_not_taken_up_again_is_told(bench: Bench) -> None:
    bench.connect()
    bench.client(id=1, method="initialize", params={"protocolVersion": "2025-11-25"})
    bench.sent()
    bench.gateway(id=1, result={"capabilities": {}})
    bench.client(method="notifications/initialized")
    bench.sent()
    bench.told()
    bench.relay.lost()
    bench.client(id=2, method="tools/call")
    hello, again = bench.connect()
    assert (hello, again["method"], again["params"]) == (
        {"orchestra": 1},
        "initialize",
        {"protocolVersion": "2025-11-25"},
    )
    bench.gateway(id=again["id"], error={"code": -32022, "message": "too old"})
    (told,) = bench.told()
    assert told["id"] == 2
    assert "does not take the session up again: too old" in told["error"]["message"]


def test_a_handshake_that_takes_too_long_is_answered_and_the_late_answer_is_not_told(bench: Bench) -> None:
    bench.connect()
    bench.client(id=1, method="initialize", params={"protocolVersion": "2024-11-05"})
    bench.sent()
    bench.relay.stand_in(NOBODY)
    (told,) = bench.told()
    assert told["result"]["protocolVersion"] == "2024-11-05"
    bench.client(method="notifications/initialized")
    assert [one["method"] for one in bench.sent()] == ["notifications/initialized"]
    bench.gateway(id=1, result={"capabilities": {"tools": {"listChanged": True}}})
    assert [one["method"] for one in bench.told()] == ["notifications/tools/list_changed"]


def test_an_error_about_no_request_is_a_refusal_only_as_the_first_and_last_word(bench: Bench) -> None:
    for is_first in (True, False):
        bench.connect()
        bench.client(id=1, method="ping")
        bench.sent()
        if not is_first:
            bench.gateway(method="notifications/message")
        bench.gateway(id=None, error={"code": -32600, "message": "no"})
        refusal = bench.relay.lost()
        assert (refusal is not None) == is_first
        bench.relay.nobody_comes(NOBODY)
        assert len(bench.told()) == (1 if is_first else 3)


def test_a_message_over_the_limit_is_answered_here(bench: Bench) -> None:
    bench.connect()
    bench.client(id=1, method="tools/call", params={"x": "x" * MAX_MESSAGE})
    assert bench.sent() == []
    (told,) = bench.told()
    assert (told["id"], told["error"]["code"]) == (1, -32600)


def test_an_answer_to_nothing_that_was_asked_is_dropped(bench: Bench) -> None:
    bench.connect()
    bench.client(id=1, method="tools/call")
    bench.sent()
    bench.client(method="notifications/cancelled", params={"requestId": 1})
    assert [one["method"] for one in bench.sent()] == ["notifications/cancelled"]
    bench.gateway(id=1, result={})
    bench.gateway(id="x", result={})
    bench.relay.from_gateway(b"{half")
    assert bench.told() == []


REQUEST_IDS = st.one_of(
    st.integers(-(2**53), 2**53), st.text(max_size=12), st.floats(allow_nan=False, allow_infinity=False)
)


@given(REQUEST_IDS, st.sampled_from(["result", "error"]))
def test_the_beginning_of_an_answer_tells_what_parsing_it_would(id_: object, what: str) -> None:
    line = encode({"jsonrpc": "2.0", "id": id_, what: {"id": 7, "result": {}}})
    found = answer_key(line)
    assert found in (None, (key_of(json.loads(line)["id"]), what == "result"))
    if isinstance(id_, int) and 0 <= id_ < 10**16:
        assert found is not None


@given(st.lists(st.binary(max_size=20), max_size=8), st.data())
def test_lines_come_out_whole_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    lines = [line.replace(b"\n", b"n").strip() for line in lines]
    text = b"".join(line + b"\n" for line in lines)
    buffer, found = LineBuffer(), list[bytes]()
    while text:
        size = data.draw(st.integers(1, 30))
        found += buffer.feed(text[:size])
        text = text[size:]
    assert found == [line for line in lines if line]
    assert buffer.take() == b""


STEPS = st.lists(
    st.sampled_from(["connect", "lose", "nobody", "call", "list", "ping", "answer", "send"]), max_size=40
)


@given(STEPS)
def test_every_request_gets_one_answer_and_a_call_is_sent_once(steps: list[str]) -> None:
    bench, asked, sent, answered = Bench(), 0, list[int](), list[int]()
    open_now: list[int] = []
    is_up = False

    def send_all() -> None:
        for one in bench.sent():
            if one.get("method") == "tools/call":
                sent.append(one["id"])
            if "id" in one:
                open_now.append(one["id"])

    for step in [*steps, "connect", "send", "answer"]:
        if step == "connect" and not is_up:
            bench.relay.connected()
            is_up = True
        elif step == "lose" and is_up:
            bench.relay.lost()
            is_up = False
            open_now.clear()
        elif step == "nobody" and not is_up:
            bench.relay.nobody_comes(NOBODY)
        elif step in {"call", "list", "ping"}:
            asked += 1
            bench.client(id=asked, method={"call": "tools/call", "list": "tools/list", "ping": "ping"}[step])
        elif step == "send":
            send_all()
        elif step == "answer":
            for id_ in open_now:
                bench.gateway(id=id_, result={})
            open_now.clear()
        answered += [one["id"] for one in bench.told()]
    assert sorted(answered) == list(range(1, asked + 1))
    assert len(sent) == len(set(sent))
    assert not bench.relay.is_waiting()
