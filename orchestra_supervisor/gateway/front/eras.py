"""What tells the two eras of MCP apart on the wire, and what each wants of a request and of a result.

A stateless request says all there is to know in `params._meta`; a handshake begins with `initialize`.

Source: the MCP specification 2026-07-28, `basic/index.mdx` and `basic/versioning.mdx`; 2025-11-25,
`basic/lifecycle.mdx`.
"""

from collections.abc import Mapping

from orchestra_supervisor.gateway.endpoint import (
    HANDSHAKE_VERSIONS,
    STATELESS_VERSIONS,
    Caller,
    Era,
    Role,
)
from orchestra_supervisor.gateway.front.wire import as_object
from orchestra_supervisor.gateway.messages import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    Json,
    RpcError,
)

__all__ = [
    "LOG_LEVELS",
    "META_CAPABILITIES",
    "META_CLIENT",
    "META_LOG_LEVEL",
    "META_SERVER",
    "META_SUBSCRIPTION",
    "META_VERSION",
    "check_envelope",
    "finish",
    "handshake_caller",
    "has_envelope",
    "http_status",
    "is_resumable",
    "stateless_caller",
    "unsupported",
]

_META = "io.modelcontextprotocol/"
META_VERSION = _META + "protocolVersion"
META_CAPABILITIES = _META + "clientCapabilities"
META_CLIENT = _META + "clientInfo"
META_LOG_LEVEL = _META + "logLevel"
META_SERVER = _META + "serverInfo"
META_SUBSCRIPTION = _META + "subscriptionId"

LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Mildest first, as in RFC 5424."""

_CACHEABLE = frozenset(
    {
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "server/discover",
        "tools/list",
    }
)
_STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}


def has_envelope(params: Mapping[str, object]) -> bool:
    """Return whether the params say a protocol version of their own: a stateless request."""
    return META_VERSION in as_object(params.get("_meta"))


def is_resumable(version: str) -> bool:
    """Return whether clients of a version come back for the rest of a stream that was closed on them."""
    return version == HANDSHAKE_VERSIONS[0]


def http_status(code: int) -> int:
    """Return the HTTP status that goes with a JSON-RPC error in the stateless era."""
    return _STATUS.get(code, 200)


def unsupported(requested: str) -> RpcError:
    """Return the error for a version that is not spoken here."""
    data: Json = {"supported": list(STATELESS_VERSIONS), "requested": requested}
    return RpcError(UNSUPPORTED_VERSION, f"the protocol version {requested!r} is not spoken here", data)


def check_envelope(params: Json) -> None:
    """Hold the `_meta` of a stateless request to what it must say, whatever the version.

    Raises:
        RpcError: INVALID_PARAMS, it does not.
    """
    if not isinstance(params.get("_meta"), dict):
        raise RpcError(INVALID_PARAMS, f"params._meta has {META_VERSION} and {META_CAPABILITIES}")
    meta = as_object(params["_meta"])
    missing = [key for key in (META_VERSION, META_CAPABILITIES) if key not in meta]
    if missing:
        raise RpcError(INVALID_PARAMS, f"params._meta has no {' and no '.join(missing)}")
    if not isinstance(meta[META_VERSION], str):
        raise RpcError(INVALID_PARAMS, f"params._meta: {META_VERSION} is a string")
    if not isinstance(meta[META_CAPABILITIES], dict):
        raise RpcError(INVALID_PARAMS, f"params._meta: {META_CAPABILITIES} is an object")


def stateless_caller(params: Json, principal: str, role: Role, session: str = "") -> Caller:
    """Return who asks, by the params of a stateless request, which `check_envelope` has passed.

    Raises:
        RpcError: UNSUPPORTED_VERSION.
    """
    meta = as_object(params["_meta"])
    version = str(meta[META_VERSION])
    if version not in STATELESS_VERSIONS:
        raise unsupported(version)
    client, capabilities = as_object(meta.get(META_CLIENT)), as_object(meta[META_CAPABILITIES])
    return Caller(principal, role, Era.STATELESS, version, client, capabilities, session)


def handshake_caller(params: Json, principal: str, role: Role, session: str = "") -> Caller:
    """Return who asks, by the params of `initialize`; its version is the one that is agreed on.

    Raises:
        RpcError: INVALID_PARAMS, they do not say a version.
    """
    requested = params.get("protocolVersion")
    if not isinstance(requested, str):
        known = ", ".join(HANDSHAKE_VERSIONS)
        raise RpcError(INVALID_PARAMS, f"initialize has a protocolVersion; spoken here: {known}")
    version = requested if requested in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[0]
    client, capabilities = as_object(params.get("clientInfo")), as_object(params.get("capabilities"))
    return Caller(principal, role, Era.HANDSHAKE, version, client, capabilities, session)


def finish(result: Json, method: str, server_info: Json) -> Json:
    """Return a result with what the stateless era wants of each, where the endpoint left it out."""
    finished = dict(result)
    finished.setdefault("resultType", "complete")
    if method in _CACHEABLE and finished["resultType"] == "complete":
        finished.setdefault("ttlMs", 0)
        finished.setdefault("cacheScope", "private")
    meta = as_object(finished.get("_meta"))
    if meta.get(META_SERVER) is None:
        finished["_meta"] = {**meta, META_SERVER: server_info}
    return finished
