"""Who listens on the TCP ports of this host."""

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

__all__ = ["PortOwner", "listeners"]


@dataclass(frozen=True, slots=True)
class PortOwner:
    """A process that listens.

    Attributes:
        pid: None where the system does not tell: another user's process.
        name: Of the program, or empty.
        run: Id of the run of ours it belongs to, or empty.
    """

    pid: int | None
    name: str
    run: str

    def __str__(self) -> str:
        """Return `pid 42 (nginx)`, or that it is unknown."""
        if self.pid is None:
            return "a process of another user"
        return f"pid {self.pid} ({self.name})" if self.name else f"pid {self.pid}"


def listeners() -> Mapping[int, PortOwner]:
    """Return the owner of each TCP port that is listened on. Blocks for a look through /proc."""
    owners: dict[int, PortOwner] = {}
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        port = int(connection.laddr[1])
        known = owners.get(port)
        if known is None or known.pid is None:
            owners[port] = PortOwner(connection.pid, "", "")
    return {port: _described(owner) for port, owner in owners.items()}


def _described(owner: PortOwner) -> PortOwner:
    if owner.pid is None:
        return owner
    name, run = "", ""
    try:
        process = psutil.Process(owner.pid)
        name = process.name()
        run = process.environ().get("ORCHESTRA_RUN_ID", "")
    except (psutil.Error, OSError):
        pass  # it has ended meanwhile, or is not ours to look into
    return PortOwner(owner.pid, name, run)
