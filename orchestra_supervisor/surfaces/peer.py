"""Tells each request of a Unix socket who called.

Each request's `state` is handed to the application; the caller's credentials travel there.
"""

from collections.abc import Callable, Mapping
from typing import cast

from orchestra_supervisor.unix_peer import Peer

__all__ = ["abort_connection", "peer_of", "state_of"]

_PEER = "peer"
_ABORT = "abort"


def state_of(peer: Peer | None, abort: Callable[[], None]) -> dict[str, object]:
    """Return the state of a request.

    Args:
        peer: Who calls, or None where the system does not say.
        abort: Cuts the connection off.
    """
    return {_PEER: peer, _ABORT: abort}


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
