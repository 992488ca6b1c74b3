"""Reads and writes JSON-RPC messages: what is wrong with one is said in its own terms."""

import json
from typing import NoReturn, cast

from orchestra_supervisor.gateway.messages import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    Json,
    RequestId,
    RpcError,
)

__all__ = [
    "MAX_MESSAGE",
    "as_object",
    "decode",
    "encode",
    "error_response",
    "id_of",
    "is_notification",
    "is_response",
    "method_of",
    "params_of",
    "result_response",
]

MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of one message, in an HTTP body or on a line."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_ASCII_ENCODER = json.JSONEncoder(separators=(",", ":"))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # json.loads would make one for each message


def decode(data: bytes | bytearray) -> object:
    """Parse one JSON text.

    Raises:
        RpcError: PARSE_ERROR, it is not JSON.
    """
    try:
        return _DECODER.decode(data.decode(json.detect_encoding(data), "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"the message is not JSON: {error}") from error


def encode(message: object) -> bytes:
    """Return a message as JSON on one line, in UTF-8."""
    try:
        return _ENCODER.encode(message).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        return _ASCII_ENCODER.encode(message).encode()


def as_object(value: object) -> Json:
    """Return a value where it is a JSON object, and an empty one where it is anything else."""
    return cast("Json", value) if isinstance(value, dict) else {}


def id_of(message: Json) -> RequestId | None:
    """Return the id of a request or response; None where it has none that can be answered."""
    found = message.get("id")
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def is_response(message: Json) -> bool:
    """Return whether it answers a request of ours."""
    return "method" not in message and ("result" in message or "error" in message)


def is_notification(message: Json) -> bool:
    """Return whether it wants no answer: it has no id at all; one with a bad id is owed an error."""
    return "id" not in message and "method" in message


def method_of(message: object) -> str:
    """Return the method of a request or notification.

    Raises:
        RpcError: INVALID_REQUEST, it is neither; or its id cannot be one.
    """
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "a message is one JSON object")
    fields = cast("Json", message)
    method = fields.get("method")
    if fields.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, 'a message has "jsonrpc": "2.0" and a method')
    if "id" in fields and id_of(fields) is None:
        raise RpcError(INVALID_REQUEST, "an id is a string or an integer")
    return method


def params_of(message: Json) -> Json:
    """Return the params of a request or notification; an empty object where there are none.

    Raises:
        RpcError: INVALID_PARAMS, they or their `_meta` are no object.
    """
    params = message.get("params")
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params is an object")
    found = cast("Json", params)
    if not isinstance(found.get("_meta", {}), dict):
        raise RpcError(INVALID_PARAMS, "params._meta is an object")
    return found


def result_response(request_id: RequestId, result: Json) -> Json:
    """Return the response that carries a result."""
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def error_response(request_id: RequestId | None, error: RpcError) -> Json:
    """Return the response that carries an error; without an id where the request's could not be read."""
    return {"jsonrpc": "2.0", "id": request_id, "error": error.to_json()}
