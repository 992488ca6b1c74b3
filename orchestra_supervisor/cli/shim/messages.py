"""JSON-RPC lines as the pump looks at them: whose answer, which method; and those that it writes itself."""

import json
import re

__all__ = [
    "ASKED_TWICE",
    "MAX_MESSAGE",
    "Json",
    "Request",
    "answer_key",
    "encode",
    "error_line",
    "items_of",
    "key_of",
    "notification_line",
    "object_of",
]

Json = dict[str, object]

ASKED_TWICE = frozenset(
    {
        "initialize",
        "server/discover",
        "ping",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
    }
)
"""What may be asked again without harm, where nobody knows whether it was answered."""
MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of one message to the gateway, as in its front/wire.py."""

_ANSWER = re.compile(
    rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(0|[1-9][0-9]{0,15}|"[A-Za-z0-9_.:/-]*")\s*,'
    rb'\s*"(result|error)"\s*:'
)
"""How answers mostly begin: then the rest, which may be megabytes, need not be parsed."""


class Request:
    """A request of the client that has no answer yet.

    Args:
        key: Its id, as `key_of` says.
        message: As the client sent it.
        line: The same, as it goes out.
        at: When it came (monotonic).
    """

    __slots__ = ("at", "is_acknowledged", "is_answered_here", "is_sent", "key", "line", "message")

    def __init__(self, key: str, message: Json, line: bytes, at: float) -> None:
        self.key = key
        self.message = message
        self.line = line
        self.at = at
        self.is_sent = False
        """Its last byte is on its way: nobody can say whether it will be carried out."""
        self.is_acknowledged = False
        """Of `subscriptions/listen`: the client knows that the stream is open."""
        self.is_answered_here = False
        """The client has an answer of ours; that of the gateway is for us."""

    @property
    def method(self) -> str:
        """Return its method."""
        return str(self.message.get("method"))

    @property
    def params(self) -> Json:
        """Return its parameters; empty where it has none."""
        return object_of(self.message.get("params"))


def encode(message: Json) -> bytes:
    """Return a message as one line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def error_line(id_: object, code: int, text: str, data: object = None) -> bytes:
    """Return an error as one line."""
    error: Json = {"code": code, "message": text}
    if data is not None:
        error["data"] = data
    return encode({"jsonrpc": "2.0", "id": id_, "error": error})


def notification_line(method: str, params: Json | None = None) -> bytes:
    """Return a notification as one line."""
    message: Json = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return encode(message)


def key_of(id_: object) -> str:
    """Return what two equal ids have in common, however they are written; empty for what is no id."""
    if isinstance(id_, bool) or not isinstance(id_, (str, int, float)):
        return ""
    return json.dumps(int(id_) if isinstance(id_, float) and id_.is_integer() else id_)


def answer_key(line: bytes) -> tuple[str, bool] | None:
    """Return the key of an answer and whether it is a result, where its beginning tells both."""
    match = _ANSWER.match(line)
    return (match[1].decode("ascii"), match[2] == b"result") if match else None


def items_of(value: object) -> list[object]:
    """Return a JSON array, or an empty one for anything else."""
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] - JSON is anything


def object_of(value: object) -> Json:
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON keys are str
