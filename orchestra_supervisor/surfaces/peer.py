"""Who is at the other end of a Unix socket: the kernel says so, nobody needs to ask.

uvicorn hands each request's `state` to the application; the caller's credentials travel there.

Source: unix(7), SO_PEERCRED; socket(7), SO_PEERGROUPS.
"""

import array
import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Peer", "PeerProtocol", "abort_connection", "peer_of"]

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59  # of asm-generic/socket.h; Python does not name it
_GROUPS_BYTES = 256 * 1024  # NGROUPS_MAX (65,536) of four bytes each
_PEER = "peer"
_ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as it was when it did.

    Attributes:
        pid: Its number; it may have ended since, so this is for the audit, not for decisions.
        uid: Its effective user.
        gid: Its effective group.
        groups: Its supplementary groups, where the system tells.
    """

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, with the caller's credentials in each request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take a connection and look who it is."""
        super().connection_made(transport)
        sock = cast("socket.socket | None", transport.get_extra_info("socket"))
        peer = None if sock is None else _credentials(sock)
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


def _credentials(sock: socket.socket) -> Peer | None:
    if sock.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid, gid, _groups(sock))


def _groups(sock: socket.socket) -> tuple[int, ...]:
    for size in (1024, _GROUPS_BYTES):
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, size)
        except OSError:  # ERANGE: more groups than fit; anything else: not told
            continue
        return tuple(array.array("I", raw))
    return ()
