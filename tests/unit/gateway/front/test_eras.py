import pytest

from orchestra_supervisor.gateway.endpoint import Caller, Era, Role
from orchestra_supervisor.gateway.front.eras import (
    check_envelope,
    finish,
    handshake_caller,
    has_envelope,
    http_status,
    stateless_caller,
)
from orchestra_supervisor.gateway.messages import Json, RpcError

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT = "io.modelcontextprotocol/clientInfo"
SERVER = "io.modelcontextprotocol/serverInfo"


def test_a_stateless_caller_is_what_the_request_says() -> None:
    params: Json = {"_meta": {VERSION: "2026-07-28", CAPABILITIES: {"sampling": {}}, CLIENT: {"name": "c"}}}
    check_envelope(params)
    assert stateless_caller(params, "token a", Role.VIEWER, "line 1") == Caller(
        "token a", Role.VIEWER, Era.STATELESS, "2026-07-28", {"name": "c"}, {"sampling": {}}, "line 1"
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, f"params._meta has {VERSION} and {CAPABILITIES}"),
        ({"_meta": {}}, f"params._meta has no {VERSION} and no {CAPABILITIES}"),
        ({"_meta": {VERSION: "2026-07-28"}}, f"params._meta has no {CAPABILITIES}"),
        ({"_meta": {VERSION: 5, CAPABILITIES: {}}}, f"params._meta: {VERSION} is a string"),
        ({"_meta": {VERSION: "x", CAPABILITIES: []}}, f"params._meta: {CAPABILITIES} is an object"),
    ],
)
def test_an_envelope_that_lacks_something_is_refused(params: Json, message: str) -> None:
    with pytest.raises(RpcError) as caught:
        check_envelope(params)
    assert (caught.value.code, caught.value.message) == (-32602, message)


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [
        ("2024-11-05", "2024-11-05"),
        ("2025-06-18", "2025-06-18"),
        ("2099-01-01", "2025-11-25"),
        ("", "2025-11-25"),
    ],
)
def test_a_handshake_agrees_on_the_version_asked_for_or_the_newest(asked: str, agreed: str) -> None:
    assert handshake_caller({"protocolVersion": asked}, "uid 0", Role.ADMIN).version == agreed


def test_initialize_without_a_version_names_those_there_are() -> None:
    with pytest.raises(RpcError) as caught:
        handshake_caller({}, "uid 0", Role.ADMIN)
    assert caught.value.message == (
        "initialize has a protocolVersion; spoken here: 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05"
    )


def test_a_result_is_finished_where_the_endpoint_left_something_out() -> None:
    server: Json = {"name": "s"}
    assert finish({"tools": []}, "tools/list", server) == {
        "tools": [],
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {SERVER: server},
    }
    said: Json = {"resultType": "x", "_meta": {SERVER: {"name": "other"}, "a": 1}}
    assert finish(said, "tools/call", server) == said


def test_a_result_that_asks_for_input_is_not_to_be_cached() -> None:
    finished = finish({"resultType": "input_required"}, "resources/read", {})
    assert set(finished) == {"resultType", "_meta"}


def test_finishing_leaves_the_endpoints_own_object_alone() -> None:
    result: Json = {"_meta": {"a": 1}}
    finish(result, "tools/list", {"name": "s"})
    assert result == {"_meta": {"a": 1}}


def test_an_envelope_is_known_by_its_version() -> None:
    asked = [{}, {"_meta": None}, {"_meta": {"progressToken": 1}}, {"_meta": {VERSION: None}}]
    assert [has_envelope(params) for params in asked] == [False, False, False, True]


def test_statuses_of_errors() -> None:
    codes = (-32700, -32600, -32602, -32601, -32020, -32021, -32022, -32603, -32000, 7)
    assert [http_status(code) for code in codes] == [400, 400, 400, 404, 400, 400, 400, 200, 200, 200]
