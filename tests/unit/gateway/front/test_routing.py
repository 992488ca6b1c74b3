import base64
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.front.routing import (
    check_parameters,
    check_routing,
    decode_value,
    parameters_of,
)
from orchestra_supervisor.gateway.messages import Json, RpcError

VERSION = "io.modelcontextprotocol/protocolVersion"


@given(st.text())
def test_any_text_can_be_said_in_base64(text: str) -> None:
    wrapped = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    assert decode_value(f"=?base64?{wrapped}?=") == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("plain", "plain"),
        ("SGVsbG8=", "SGVsbG8="),
        ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
        ("=?base64?SGVsbG8?=", None),
        ("=?base64?SGVs!!!bG8=?=", None),
        ("=?base64?SGVsbG9=?=", None),
        ("=?base64?/w==?=", None),
    ],
)
def test_values_are_literal_or_base64_or_broken(value: str, meaning: str | None) -> None:
    assert decode_value(value) == meaning


def schema(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({}, ()),
        ({"a": {"type": "string", "x-mcp-header": "Region"}}, ((("a",), "region", "string"),)),
        (
            {"a": schema(b={"type": "integer", "x-mcp-header": "N"})},
            ((("a", "b"), "n", "integer"),),
        ),
        ({"a": {"type": "number", "x-mcp-header": "N"}}, ()),
        ({"a": {"type": "string", "x-mcp-header": "bad header"}}, ()),
        ({"a": {"type": "string", "x-mcp-header": ""}}, ()),
        ({"a": {"x-mcp-header": "N"}}, ()),
        (
            {
                "a": {"type": "string", "x-mcp-header": "N"},
                "b": {"type": "string", "x-mcp-header": "n"},
            },
            (),
        ),
    ],
)
def test_annotations_of_a_schema(properties: Json, found: tuple[object, ...]) -> None:
    assert parameters_of({"type": "object", "properties": properties}) == found


def test_a_schema_that_is_deep_or_odd_is_no_trouble() -> None:
    deep: Json = {}
    for _ in range(10_000):
        deep = {"properties": {"a": deep}}
    assert (parameters_of(deep), parameters_of({"properties": [5]})) == ((), ())


def test_a_header_that_is_given_twice_is_refused() -> None:
    params: Json = {"_meta": {VERSION: "v"}}
    headers = {b"mcp-protocol-version": [b"v"], b"mcp-method": [b"ping", b"ping"]}
    with pytest.raises(RpcError, match="mcp-method is given 2 times"):
        check_routing(headers, "ping", params)


@pytest.mark.parametrize(
    ("argument", "header", "agrees"),
    [
        (42, b"42", True),
        (42, b"42.00", True),
        (42, b"42.5", False),
        (42, b"4e1", False),
        (True, b"true", True),
        (True, b"1", False),
        (42.0, b"42", True),
        ("42", b"42.0", False),
        (10**50, str(10**50).encode() + b".0", True),
    ],
)
def test_whole_numbers_agree_as_numbers(argument: object, header: bytes, *, agrees: bool) -> None:
    headers, parameters = {b"mcp-param-n": [header]}, ((("n",), "n", "integer"),)
    with nullcontext() if agrees else pytest.raises(RpcError, match="Mcp-Param-n does not fit"):
        check_parameters(headers, parameters, {"n": argument})
