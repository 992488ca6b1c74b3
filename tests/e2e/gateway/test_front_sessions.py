"""Handshake sessions over HTTP: what a restart leaves of them, and streams that are taken up again."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateway.front_driver import BOTH, Front, running_front


class Stream:
    """A stream of events, read by hand."""

    def __init__(self, front: Front, session: str, body: object = None, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=20)
        method = "GET" if body is None else "POST"
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Accept": BOTH, "Content-Type": "application/json", "Mcp-Session-Id": session, **spelled}
        self.connection.request(method, "/mcp", None if body is None else json.dumps(body), given)
        self.response = self.connection.getresponse()
        self.kind = self.response.getheader("content-type")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events until the stream ends; comments are left out."""
        fields: dict[str, Any] = {}
        while line := self.response.readline():
            text = line.decode().rstrip("\n")
            if not text:
                if "data" in fields:
                    fields["data"] = json.loads(fields["data"]) if fields["data"] else None
                    yield fields
                fields = {}
            elif not text.startswith(":"):
                name, _, value = text.partition(":")
                fields[name] = value.strip()

    def close(self) -> None:
        self.response.close()
        self.connection.close()

    def __enter__(self) -> "Stream":  # noqa: PYI034 - short
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def call(
    name: str, arguments: dict[str, object] | None = None, request_id: object = 7, token: object = 1
) -> object:
    params = {"name": name, "arguments": arguments or {}, "_meta": {"progressToken": token}}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def words(answer: dict[str, Any]) -> str:
    return str(answer["result"]["content"][0]["text"])


def test_a_session_is_as_good_as_before_after_a_restart(tmp_path: Path) -> None:
    with running_front(tmp_path, "--open") as first:
        session = first.begin("2025-06-18")
        status, before = first.in_session(session, "tools/call", {"name": "whoami"})
        assert status == 200
    with running_front(tmp_path, "--open") as second:
        status, after = second.in_session(session, "tools/call", {"name": "whoami"})
        assert (status, after) == (200, before)
        assert second.in_session(session, "resources/subscribe", {"uri": "test://watched-resource"})[0] == 200
    said = ["anybody on this host", "OPERATOR", "handshake", "2025-06-18", {"name": "test", "version": "1"}]
    assert json.loads(words(after)) == said


def test_after_a_restart_the_lists_are_said_to_have_changed(tmp_path: Path) -> None:
    with running_front(tmp_path, "--open") as first:
        session = first.begin()
    with running_front(tmp_path, "--open") as second, Stream(second, session) as stream:
        events = stream.events()
        primer = next(events)
        assert (primer["data"], primer["retry"]) == (None, "500")
        heard = {next(events)["data"]["method"] for _ in range(3)}
    assert heard == {f"notifications/{name}/list_changed" for name in ("tools", "prompts", "resources")}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-2] + ("AA" if key[-2:] != "AA" else "BB"),
        lambda key: "A" + key[1:],
        lambda key: key.partition(".")[0],
        lambda _: "nonsense",
        lambda _: "x" * 20_000,
        lambda key: key + ".",
    ],
)
def test_an_id_that_is_not_ours_is_not_found(front: Front, spoil: Any) -> None:
    status, answer = front.in_session(spoil(front.begin()), "ping")
    assert (status, answer["error"]["message"]) == (
        404,
        "this session has ended or is none of yours: begin with initialize",
    )


def test_an_id_of_another_home_is_not_found(front: Front, tmp_path: Path) -> None:
    with running_front(tmp_path, "--open") as other:
        session = other.begin()
        assert (tmp_path / "mcp-session.key").stat().st_mode & 0o777 == 0o600
    assert front.in_session(session, "ping")[0] == 404


def test_a_deleted_session_is_over(front: Front) -> None:
    session = front.begin()
    statuses = [front.request("DELETE", headers={"Mcp-Session-Id": session})[0] for _ in range(2)]
    assert (statuses, front.in_session(session, "ping")[0]) == ([204, 404], 404)


def test_deleting_a_session_ends_its_stream_and_its_calls(front: Front) -> None:
    session = front.begin()
    with Stream(front, session) as standing, Stream(front, session, call("wait_for_ever")) as calling:
        events = calling.events()
        assert [next(events)["data"], next(events)["data"]["method"]] == [None, "notifications/progress"]
        front.request("DELETE", headers={"Mcp-Session-Id": session})
        assert [event["data"] for event in standing.events()] == [None]
        (last,) = events
        assert (last["data"]["id"], last["data"]["error"]["code"]) == (7, -32000)


def test_a_second_standing_stream_takes_the_place_of_the_first(front: Front) -> None:
    session = front.begin()
    with Stream(front, session) as first, Stream(front, session) as second:
        assert [event["data"] for event in first.events()] == [None]
        events = second.events()
        next(events)
        front.in_session(session, "tools/call", {"name": "test_trigger_tool_change"})
        assert next(events)["data"]["method"] == "notifications/tools/list_changed"


def test_changes_wait_for_a_client_whose_stream_is_away(front: Front) -> None:
    session = front.begin()
    front.in_session(session, "resources/subscribe", {"uri": "test://watched-resource"})
    front.in_session(
        session, "tools/call", {"name": "touch", "arguments": {"uri": "test://watched-resource", "times": 3}}
    )
    with Stream(front, session) as stream:
        events = stream.events()
        next(events)
        assert next(events)["data"] == {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "test://watched-resource"},
        }


def test_a_client_that_lost_its_stream_gets_the_rest_of_it(front: Front) -> None:
    session = front.begin()
    with Stream(front, session, call("test_tool_with_progress")) as stream:
        events = stream.events()
        primer = next(events)
        first = next(events)
    assert (first["data"]["params"]["progress"], primer["data"]) == (0, None)
    with Stream(front, session, Last_Event_ID=first["id"]) as rest:
        data = [event["data"] for event in rest.events()]
    assert [item["params"]["progress"] for item in data[:-1]] == [50, 100]
    assert words(data[-1]) == "Progressed to the end."
    with Stream(front, session, Last_Event_ID=primer["id"]) as again:  # as often as it wants
        assert [event["data"] for event in again.events()] == [first["data"], *data]


def test_a_call_goes_on_when_a_session_client_leaves(front: Front) -> None:
    session = front.begin()
    with Stream(front, session, call("test_reconnection")) as stream:
        (primer,) = stream.events()
    assert (primer["data"], stream.kind) == (None, "text/event-stream")
    with Stream(front, session, Last_Event_ID=primer["id"]) as rest:
        (answer,) = rest.events()
    assert words(answer["data"]) == "You came back."


def test_an_older_client_is_not_let_go(front: Front) -> None:
    session = front.begin("2025-06-18")
    with Stream(front, session, call("test_reconnection")) as stream:
        assert stream.kind == "application/json"
        assert words(json.loads(stream.response.read())) == "You came back."


def test_an_answer_that_a_restart_lost_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    with running_front(tmp_path, "--open") as first:
        session = first.begin()
        with Stream(first, session, call("wait_for_ever", request_id="seven")) as stream:
            event = next(stream.events())
        first.process.kill()
    with running_front(tmp_path, "--open") as second:
        with Stream(second, session, Last_Event_ID=event["id"]) as rest:
            (answer,) = rest.events()
        assert answer["data"] == {
            "jsonrpc": "2.0",
            "id": "seven",
            "error": {
                "code": -32000,
                "message": "the gateway was restarted and this answer is lost: ask again",
            },
        }


def test_a_cancelled_call_ends_its_stream(front: Front) -> None:
    session = front.begin()
    with Stream(front, session, call("wait_for_ever")) as stream:
        events = stream.events()
        next(events), next(events)
        params = {"requestId": 7, "reason": "changed my mind"}
        body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        assert front.post(body, Mcp_Session_Id=session)[0] == 202
        (last,) = events
    assert (last["data"]["id"], last["data"]["error"]["code"]) == (7, -32001)


def test_one_id_is_answered_once_at_a_time(front: Front) -> None:
    session = front.begin()
    with Stream(front, session, call("wait_for_ever")) as stream:
        events = stream.events()
        next(events), next(events)
        _, answer = front.post(call("echo"), Mcp_Session_Id=session)
        assert answer["error"]["message"] == "a request with the id 7 is being answered already"
        front.request("DELETE", headers={"Mcp-Session-Id": session})


def test_the_client_is_asked_on_the_stream_of_its_call_and_answers_by_another(front: Front) -> None:
    session = front.begin()
    with Stream(front, session, call("test_elicitation", {"message": "Who?"})) as stream:
        events = stream.events()
        next(events)
        question = next(events)["data"]
        assert (question["method"], question["params"]["message"]) == ("elicitation/create", "Who?")
        result = {"action": "decline"}
        stray = {"jsonrpc": "2.0", "id": "nobody asked", "result": result}
        answers = [stray, {"jsonrpc": "2.0", "id": question["id"], "result": result}]
        assert [front.post(answer, Mcp_Session_Id=session)[0] for answer in answers] == [202, 202]
        (last,) = events
    assert words(last["data"]) == "User response: action=decline, content={}"


def test_a_batch_is_answered_as_one_in_the_version_that_has_them(front: Front) -> None:
    session = front.begin("2025-03-26")
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call("echo", {"n": 1}, request_id="two"),
        {"jsonrpc": "2.0", "id": 3, "method": "no/such"},
        5,
    ]
    status, answers = front.post(batch, Mcp_Session_Id=session)
    assert status == 200
    known = {answer["id"]: answer for answer in answers}  # type: ignore[index]
    assert set(known) == {1, "two", 3, None}
    assert (known[1]["result"], known["two"]["result"]["structuredContent"]) == ({}, {"said": {"n": 1}})
    assert (known[3]["error"]["code"], known[None]["error"]["code"]) == (-32601, -32600)
    only_told = [{"jsonrpc": "2.0", "method": "notifications/initialized"}]
    assert front.post(only_told, Mcp_Session_Id=session)[0] == 202
    with Stream(front, session, [call("test_tool_with_progress"), call("echo", request_id=8)]) as stream:
        data = [event["data"] for event in stream.events()]
    assert [item["id"] for item in data if "id" in item] == [8, 7]
    assert front.post(batch, Mcp_Session_Id=front.begin("2025-11-25"))[0] == 400


def test_log_messages_come_from_the_level_that_was_set(front: Front) -> None:
    session = front.begin()
    logged = []
    for level in ("error", "info"):
        assert front.in_session(session, "logging/setLevel", {"level": level}) == (
            200,
            {"jsonrpc": "2.0", "id": 1, "result": {}},
        )
        with Stream(front, session, call("test_tool_with_logging")) as stream:
            text = stream.response.read().decode()
            logged.append(text.count("notifications/message"))
    assert logged == [0, 3]
    status, answer = front.in_session(session, "logging/setLevel", {"level": "loud"})
    assert (status, answer["error"]["code"]) == (200, -32602)


def test_what_only_the_other_era_has_is_not_found(front: Front) -> None:
    session = front.begin()
    codes = [
        front.in_session(session, method)[1]["error"]["code"]
        for method in ("server/discover", "subscriptions/listen", "initialize/again")
    ]
    assert codes == [-32601, -32601, -32601]


def test_a_gateway_that_ends_answers_what_it_can_and_says_so_of_the_rest(tmp_path: Path) -> None:
    front = Front(tmp_path, "--open")
    session = front.begin()
    answers: dict[str, Any] = {}

    def wait_for(name: str, body: object) -> None:
        with Stream(front, session, body) as stream:
            began.release()
            answers[name] = json.loads(stream.response.read().split(b"data: ")[-1])

    began = threading.Semaphore(0)
    bodies = {
        "short": call("test_tool_with_progress", request_id=1),
        "long": call("wait_for_ever", request_id=2),
    }
    threads = [threading.Thread(target=wait_for, args=item) for item in bodies.items()]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert began.acquire(timeout=10)
    assert front.end() == 0
    for thread in threads:
        thread.join(10)
    assert words(answers["short"]) == "Progressed to the end."
    assert (answers["long"]["id"], answers["long"]["error"]["code"]) == (2, -32000)
