import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.front.wire import (
    decode,
    encode,
    id_of,
    is_notification,
    is_response,
    method_of,
    params_of,
)
from orchestra_supervisor.gateway.messages import RpcError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_is_one_line_and_reads_the_same(value: object) -> None:
    data = encode(value)
    assert b"\n" not in data
    assert decode(data) == value


def test_half_a_surrogate_pair_goes_through() -> None:
    assert json.loads(encode({"a": "\ud800"})) == {"a": "\ud800"}


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b"[" * 100_000, b"9" * 5_000])
def test_what_is_not_json_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        decode(data)
    assert caught.value.code == -32700


@pytest.mark.parametrize(
    "message",
    [
        5,
        [],
        {},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "method": 5},
        {"jsonrpc": "1.0", "method": "a"},
        {"jsonrpc": "2.0", "method": "a", "id": None},
        {"jsonrpc": "2.0", "method": "a", "id": True},
        {"jsonrpc": "2.0", "method": "a", "id": 1.5},
        {"jsonrpc": "2.0", "method": "a", "id": []},
    ],
)
def test_what_is_no_request_or_notification_is_an_invalid_request(message: object) -> None:
    with pytest.raises(RpcError) as caught:
        method_of(message)
    assert caught.value.code == -32600


@given(JSON)
def test_any_json_is_looked_at_without_a_fault(value: object) -> None:
    with suppress(RpcError):
        method_of(value)
    with suppress(RpcError):
        params_of(value if isinstance(value, dict) else {"params": value})


def test_the_kinds_of_messages_are_told_apart() -> None:
    messages = [
        {"jsonrpc": "2.0", "id": "a", "method": "m"},
        {"jsonrpc": "2.0", "method": "m"},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": None, "error": {}},
    ]
    told = [(id_of(message), is_notification(message), is_response(message)) for message in messages]
    assert told == [("a", False, False), (None, True, False), (1, False, True), (None, False, True)]


@pytest.mark.parametrize("params", [[], 5, "x", {"_meta": []}, {"_meta": None}])
def test_params_that_are_no_object_are_refused(params: object) -> None:
    with pytest.raises(RpcError) as caught:
        params_of({"params": params})
    assert caught.value.code == -32602


def test_absent_params_are_empty() -> None:
    assert (params_of({}), params_of({"params": None})) == ({}, {})
