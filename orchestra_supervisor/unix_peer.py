"""Who is at the other end of a Unix socket: the kernel says so, nobody needs to ask.

Source: unix(7), SO_PEERCRED; socket(7), SO_PEERGROUPS.
"""

import array
import socket
import struct
from dataclasses import dataclass

__all__ = ["Peer", "peer_of_socket"]

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59  # of asm-generic/socket.h; Python does not name it
_GROUPS_BYTES = 256 * 1024  # NGROUPS_MAX (65,536) of four bytes each


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


def peer_of_socket(sock: socket.socket) -> Peer | None:
    """Return who is at the other end; None where the system does not say."""
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
