"""Parameters as one era or the other carries them."""

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.gateway.backends.fields import member
from orchestra_supervisor.gateway.endpoint import Caller
from orchestra_supervisor.gateway.messages import Json

__all__ = ["OURSELVES", "SERVER_KEY", "plain_params", "stamped", "untokened"]

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CLIENT_KEY = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
_LOG_LEVEL_KEY = "io.modelcontextprotocol/logLevel"

OURSELVES: Json = {"name": "orchestra-gateway", "title": "Orchestra Supervisor", "version": VERSION}
"""The client that the gateway is."""


def stamped(params: Json, version: str, caller: Caller | None) -> Json:
    """Return the params of a stateless request: with the version, and who asks and what they can do.

    Args:
        params: Of the request.
        version: That is spoken with the server.
        caller: None: the gateway itself asks.
    """
    meta = dict(member(params, "_meta"))
    meta[VERSION_KEY] = version
    client = caller.client if caller is not None and caller.client else OURSELVES
    meta[CLIENT_KEY] = dict(client)
    meta[CAPABILITIES_KEY] = dict(caller.capabilities) if caller is not None else {}
    return {**params, "_meta": meta}


def plain_params(params: Json) -> Json:
    """Return params without what only stateless requests carry."""
    rest = {
        key: value for key, value in params.items() if key not in {"_meta", "inputResponses", "requestState"}
    }
    special = {VERSION_KEY, CLIENT_KEY, CAPABILITIES_KEY, _LOG_LEVEL_KEY, "progressToken"}
    meta = {key: value for key, value in member(params, "_meta").items() if key not in special}
    return {**rest, "_meta": meta} if meta else rest


def untokened(params: Json) -> Json:
    """Return params without the client's own progress token."""
    meta = member(params, "_meta")
    if "progressToken" not in meta:
        return params
    return {**params, "_meta": {key: value for key, value in meta.items() if key != "progressToken"}}
