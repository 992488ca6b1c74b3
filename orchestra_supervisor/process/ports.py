"""Who listens on a port, for the message that names them. Nobody is ever ended to free one."""

import errno
import socket
from collections.abc import Collection
from dataclasses import dataclass

import psutil

__all__ = ["PortOwner", "is_busy", "port_owner", "port_owners"]

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound for serving
COMMAND_LIMIT = 120
"""Characters of a command line that are shown."""


@dataclass(frozen=True, slots=True)
class PortOwner:
    """Who holds a port.

    Attributes:
        pid: Of the listener, or None: the port is busy, but its owner is hidden from us.
        name: Its command name, or empty.
        command: Its command line, shortened, or empty. It may hold what its owner would not show to all.
    """

    pid: int | None
    name: str = ""
    command: str = ""

    def __str__(self) -> str:
        """Return `pid 4711 (python3)` or `a process that is hidden from this user`."""
        return (
            "a process that is hidden from this user" if self.pid is None else f"pid {self.pid} ({self.name})"
        )


def port_owner(port: int, host: str | None = None) -> PortOwner | None:
    """Return who holds a TCP port. Blocks for some milliseconds: call it in a worker thread.

    Args:
        port: 1 to 65535.
        host: Address that a service would listen on; None: any address counts.

    Returns:
        The owner, or None when the port is free.
    """
    return port_owners([(host, port)]).get((host, port))


def port_owners(places: Collection[tuple[str | None, int]]) -> dict[tuple[str | None, int], PortOwner]:
    """Return who holds each of many ports, with one look at the system.

    Args:
        places: Pairs of host (or None) and port, as for `port_owner`.

    Returns:
        The places that are taken, with their owners.
    """
    listeners = _listeners()
    taken: dict[tuple[str | None, int], PortOwner] = {}
    for host, port in places:
        pids = [pid for address, pid in listeners.get(port, ()) if _overlap(host, address)]
        known = next((pid for pid in pids if pid is not None), None)
        if known is not None:
            taken[host, port] = _describe(known)
        elif pids or is_busy(host, port):
            taken[host, port] = PortOwner(None)
    return taken


def _listeners() -> dict[int, list[tuple[str, int | None]]]:
    found: dict[int, list[tuple[str, int | None]]] = {}
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):  # not for this user, or no such table: trying to bind decides
        return found
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            address, port = str(connection.laddr[0]), int(connection.laddr[1])
            found.setdefault(port, []).append((address, connection.pid))
    return found


def _overlap(host: str | None, address: str) -> bool:
    if host is None or host in _ANY or address in _ANY:
        return True
    return host == address or (host == "localhost" and address in {"127.0.0.1", "::1"})


def is_busy(host: str | None, port: int) -> bool:
    """Return whether the system refuses the port: held by a socket that is bound, but does not listen yet."""
    address = "0.0.0.0" if host is None else "127.0.0.1" if host == "localhost" else host  # noqa: S104 - never listens
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # remains of closed connections do not count
            trial.bind((address, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    except (OverflowError, UnicodeError):
        return False
    return False


def _describe(pid: int) -> PortOwner:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            name = process.name()
            command = " ".join(process.cmdline())
    except (psutil.Error, OSError):
        return PortOwner(pid)
    short = command if len(command) <= COMMAND_LIMIT else command[: COMMAND_LIMIT - 1] + "…"
    return PortOwner(pid, name, short)
