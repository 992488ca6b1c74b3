"""The socket of the shim by hand: hello, both eras, and clients that do it wrong."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.gateway.front_driver import Front, running_front, stateless


@pytest.fixture(autouse=True)
def still_well(front: Front) -> Generator[None]:
    """A client that was there before, and does nothing wrong, is answered as ever."""
    with front.line() as bystander:
        bystander.initialize()
        yield
        echo = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "echo", "arguments": {"a": 1}},
        }
        assert bystander.ask(echo)["result"]["structuredContent"] == {"said": {"a": 1}}


def error_of(answer: dict | None) -> tuple[object, int]:
    assert answer is not None
    return answer["id"], answer["error"]["code"]


def test_who_calls_is_told_by_the_kernel(front: Front) -> None:
    with front.line() as line:
        assert line.initialize("2024-11-05")["result"]["protocolVersion"] == "2024-11-05"
        answer = line.ask({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "whoami"}})
    said = json.loads(answer["result"]["content"][0]["text"])
    assert (said[1:], said[0].startswith("uid ")) == (
        ["ADMIN", "handshake", "2024-11-05", {"name": "test", "version": "1"}],
        True,
    )


@pytest.mark.parametrize(
    "hello",
    [
        {"orchestra": 1, "endpoint": "control", "profile": None, "server": None},
        {"orchestra": 1, "endpoint": "gateway", "profile": None},
        {"orchestra": 1, "endpoint": "gateway", "profile": "work"},
        {"orchestra": 1, "endpoint": "server", "server": "one"},
    ],
)
def test_a_hello_chooses_the_endpoint(front: Front, hello: object) -> None:
    with front.line(hello) as line:
        assert line.ask({"jsonrpc": "2.0", "id": 1, "method": "ping"}) == {
            "jsonrpc": "2.0",
            "id": 1,
            "result": {},
        }


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        (b"hello", "the first line is "),
        (b"[]", "the first line is "),
        ({"jsonrpc": "2.0", "id": 1, "method": "initialize"}, "the first line is "),
        ({"orchestra": 2, "endpoint": "control"}, "the first line has version 2"),
        ({"orchestra": 1, "endpoint": "all"}, "there is no endpoint 'all'"),
        ({"orchestra": 1, "endpoint": "server"}, "None is no name"),
        ({"orchestra": 1, "endpoint": "server", "server": "a/b"}, "'a/b' is no name"),
        ({"orchestra": 1, "endpoint": "server", "server": "two"}, "nothing is served at /s/two/mcp"),
        (b"x" * 70_000, "a line has at most 65536 bytes"),
    ],
)
def test_a_hello_that_cannot_be_served_is_answered_and_the_connection_closed(
    front: Front, hello: object, message: str
) -> None:
    with front.line(hello) as line:
        answer = line.receive()
        assert answer is not None
        assert (error_of(answer), answer["error"]["message"].startswith(message)) == ((None, -32600), True)
        assert line.receive() is None


def test_both_eras_may_come_by_one_connection(front: Front) -> None:
    with front.line() as line:
        assert line.ask(stateless("server/discover"))["result"]["supportedVersions"] == ["2026-07-28"]
        line.initialize()
        eras = [
            json.loads(line.ask(message)["result"]["content"][0]["text"])[2]
            for message in (
                {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}},
                stateless("tools/call", {"name": "whoami"}),
            )
        ]
    assert eras == ["handshake", "stateless"]


def test_before_initialize_nothing_but_ping_is_answered(front: Front) -> None:
    with front.line() as line:
        assert error_of(line.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})) == (1, -32600)
        assert line.initialize()["result"]["serverInfo"]["name"] == "fixture"
        again = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "initialize",
            "params": {"protocolVersion": "2025-11-25"},
        }
        assert error_of(line.ask(again)) == (2, -32600)


def test_what_is_no_message_is_told_so_and_the_next_one_is_answered(front: Front) -> None:
    bad = [
        (b"not json", -32700),
        (b"\xff\xfe\x00", -32700),
        (b"[" * 100_000, -32700),
        (b"5", -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', -32600),
        (b"{}", -32600),
        (b"x" * 5_000_000, -32600),
    ]
    with front.line() as line:
        for text, code in bad:
            assert error_of(line.ask(text)) == (None, code), text[:50]
            line.send(b"")  # blank lines are nothing
            assert line.ask({"jsonrpc": "2.0", "id": 1, "method": "ping"})["result"] == {}


def test_a_line_may_have_four_megabytes(front: Front) -> None:
    with front.line() as line:
        message = stateless("tools/call", {"name": "echo", "arguments": {"pad": "x" * 4_000_000}})
        assert len(line.ask(message)["result"]["structuredContent"]["said"]["pad"]) == 4_000_000


def test_a_flood_of_what_is_no_message_ends_the_connection(front: Front) -> None:
    with front.line() as line:
        line.send(b"\n".join([b"noise"] * 100))
        codes = [error_of(line.receive())[1] for _ in range(101)]
        assert (codes, line.receive()) == ([-32700] * 100 + [-32600], None)


def test_a_client_that_floods_and_does_not_read_is_held_back(front: Front) -> None:
    """It cannot make the front remember more than a socket's buffer and a few messages."""
    with front.line() as line:
        line.initialize()
        message = stateless("tools/call", {"name": "echo", "arguments": {"pad": "x" * 100_000}})
        line.plug.settimeout(1)

        def flood() -> None:
            for number in range(2_000):
                line.send({**message, "id": number})

        with pytest.raises(TimeoutError):
            flood()


def test_too_many_requests_at_a_time_are_told_to_come_again(front: Front) -> None:
    with front.line() as line:
        for number in range(256):
            line.send({**stateless("tools/call", {"name": "wait_for_ever"}), "id": number})
        line.send({**stateless("tools/list"), "id": "one too many"})
        assert error_of(line.receive()) == ("one too many", -32000)


def test_cancelling_frees_the_call_and_nothing_is_answered(front: Front) -> None:
    with front.line() as line:
        message = stateless("tools/call", {"name": "wait_for_ever", "_meta": {"progressToken": "p"}})
        assert line.ask({**message, "id": 5})["params"]["progressToken"] == "p"
        for request_id in (99, 5, {}):
            params = {"requestId": request_id}
            line.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        assert line.ask({"jsonrpc": "2.0", "id": 6, "method": "ping"})["id"] == 6


def test_the_last_requests_of_a_client_that_closed_its_side_are_answered(front: Front) -> None:
    with front.line() as line:
        line.send(
            {**stateless("tools/call", {"name": "wait_a_moment", "arguments": {"seconds": 0.3}}), "id": 1}
        )
        line.plug.shutdown(1)
        answer = line.receive()
        assert answer is not None
        assert answer["result"]["content"][0]["text"] == "It was worth it."
        assert line.receive() is None


def test_a_listener_is_told_that_the_gateway_ends(tmp_path: Path) -> None:
    with running_front(tmp_path, "--open") as front, front.line() as line:
        acknowledged = line.ask(
            stateless("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        )
        front.process.terminate()
        last = line.receive()
        assert last is not None
        meta = {"io.modelcontextprotocol/subscriptionId": 1}
        assert acknowledged["params"] == {"notifications": {"toolsListChanged": True}, "_meta": meta}
        assert (last["id"], last["result"]["resultType"]) == (1, "complete")
        assert last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 1
        assert line.receive() is None


def test_a_gateway_that_ends_tells_whoever_waits_to_ask_again(tmp_path: Path) -> None:
    with running_front(tmp_path, "--open") as front, front.line() as line:
        line.initialize()
        message = {"name": "wait_for_ever", "_meta": {"progressToken": 1}}
        line.ask({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": message})
        front.process.terminate()
        assert error_of(line.receive()) == (3, -32000)
        assert line.receive() is None


def test_resources_that_do_not_tell_are_left_out_of_the_acknowledgement(front: Front) -> None:
    wanted = {
        "resourceSubscriptions": ["test://a", "http://elsewhere", 5, "test://a"],
        "toolsListChanged": False,
    }
    with front.line() as line:
        said = line.ask(stateless("subscriptions/listen", {"notifications": wanted}))
    assert said["params"]["notifications"] == {"resourceSubscriptions": ["test://a"]}
