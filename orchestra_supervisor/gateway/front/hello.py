"""The first line on the socket of the shim: which endpoint the connection wants to talk with."""

from orchestra_supervisor.gateway.front.wire import as_object, decode
from orchestra_supervisor.gateway.messages import INVALID_REQUEST, RpcError

__all__ = ["MAX_HELLO", "path_of_hello"]

MAX_HELLO = 64 * 1024
"""Bytes of the line."""

_VERSION = 1
_SHAPE = (
    '{"orchestra": 1, "endpoint": "control"|"gateway"|"server", "profile": NAME|null, "server": NAME|null}'
)


def path_of_hello(line: bytes) -> str:
    """Return the path that a first line means; the same as for HTTP.

    Raises:
        RpcError: INVALID_REQUEST, it is no such line.
    """
    try:
        fields = as_object(decode(line))
    except RpcError as error:
        raise RpcError(INVALID_REQUEST, f"the first line is {_SHAPE}") from error
    version = fields.get("orchestra")
    if version is None:
        raise RpcError(INVALID_REQUEST, f"the first line is {_SHAPE}")
    if version != _VERSION:
        message = f"the first line has version {version!r}, this gateway knows {_VERSION}: update one"
        raise RpcError(INVALID_REQUEST, message)
    match fields.get("endpoint"):
        case "control":
            return "/mcp"
        case "gateway":
            profile = fields.get("profile")
            return "/gw/mcp" if profile is None else f"/gw/{_name(profile)}/mcp"
        case "server":
            return f"/s/{_name(fields.get('server'))}/mcp"
        case other:
            raise RpcError(INVALID_REQUEST, f"there is no endpoint {other!r}: control, gateway or server")


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or "/" in value:
        raise RpcError(INVALID_REQUEST, f"{value!r} is no name")
    return value
