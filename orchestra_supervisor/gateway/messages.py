"""JSON-RPC as MCP uses it: plain objects in and out, so that what we do not know is passed on as it is.

Source: JSON-RPC 2.0; the MCP specification 2026-07-28, `basic/index.mdx`.
"""

from collections.abc import Mapping

__all__ = [
    "CANCELLED",
    "CONNECTION_CLOSED",
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "MISSING_CAPABILITY",
    "PARSE_ERROR",
    "UNSUPPORTED_VERSION",
    "Json",
    "RequestId",
    "RpcError",
]

Json = dict[str, object]
"""A JSON object."""
RequestId = str | int

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
CONNECTION_CLOSED = -32000
"""The backend went away while it was asked; the same request may be sent again."""
CANCELLED = -32001
"""It took too long, or was cancelled."""
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022


class RpcError(Exception):
    """A JSON-RPC error, ours or one that a backend sent.

    Args:
        code: As above, or the backend's own.
        message: For people and models: what, where, and what to do.
        data: Further facts, JSON-ready, or None.
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> Json:
        """Return the `error` member of a response."""
        error: Json = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error

    @classmethod
    def from_json(cls, error: Mapping[str, object]) -> "RpcError":
        """Return the error that a response carries; what is odd in it becomes its empty value."""
        code, message = error.get("code"), error.get("message")
        return cls(
            code if isinstance(code, int) else INTERNAL_ERROR,
            message if isinstance(message, str) else "the server sent an error without a message",
            error.get("data"),
        )
