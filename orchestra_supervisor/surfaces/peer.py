"""Tells each request of a Unix socket who called.

uvicorn hands each request's `state` to the application; the caller's credentials travel there.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestra_supervisor.unix_peer import Peer, peer_of_socket

__all__ = ["PeerProtocol", "abort_connection", "peer_of"]

_PEER = "peer"
_ABORT = "abort"


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, with the caller's credentials in each request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take a connection and look who it is."""
        super().connection_made(transport)
        sock = cast("socket.socket | None", transport.get_extra_info("socket"))
        peer = None if sock is None else peer_of_socket(sock)
        self.app_state = {**self.app_state, _PEER: peer, _ABORT: transport.abort}


def peer_of(scope: Mapping[str, object]) -> Peer | None:
    """Return the caller of a request.

    Args:
        scope: The ASGI scope.

    Returns:
        Who it is, or None where the system does not say: such a caller has no rights.
    """
    peer = _state(scope).get(_PEER)
    return peer if isinstance(peer, Peer) else None


def abort_connection(scope: Mapping[str, object]) -> bool:
    """Cut a request's connection off, unsent bytes included: for a client that does not read.

    Args:
        scope: The ASGI scope.

    Returns:
        False when the server cannot do it.
    """
    abort = _state(scope).get(_ABORT)
    if not callable(abort):
        return False
    cast("Callable[[], None]", abort)()
    return True


def _state(scope: Mapping[str, object]) -> Mapping[str, object]:
    state = scope.get("state")
    return cast("Mapping[str, object]", state) if isinstance(state, dict) else {}
