"""Which listening sockets a run gets: a message made into checked values."""

import socket
from dataclasses import dataclass
from typing import cast

from orchestra_supervisor.keeper.fields import BadMessage, account, optional_flag, optional_int, take_text
from orchestra_supervisor.wire.frames import Message

__all__ = ["ListenSpec", "parse_sockets"]

_MAX_SOCKETS = 12  # of one run
_KINDS = ("tcp", "udp", "unix", "inherited")


@dataclass(frozen=True, slots=True)
class ListenSpec:
    """One listening socket. Two that compare equal are the same socket, kept from run to run.

    Attributes:
        name: What the service calls it; in LISTEN_FDNAMES.
        kind: `tcp`, `udp`, `unix` (stream), or `inherited` from the service manager.
        host: IP address; empty for unix.
        port: TCP or UDP port; 0 for unix.
        path: Of a unix socket, else empty.
        backlog: Connections that may wait.
        mode: Permission bits of a unix socket.
        user: Owner of a unix socket, or None: ours.
        group: Likewise.
        fd_name: What the service manager calls an inherited one, else empty.
        shared: Slots that want the same socket have it together.
    """

    name: str
    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    backlog: int = 4096
    mode: int = 0o600
    user: str | int | None = None
    group: str | int | None = None
    fd_name: str = ""
    shared: bool = False

    @property
    def address(self) -> str:
        """Return the address for people."""
        if self.kind in ("unix", "inherited"):
            return self.path or f"the service manager's {self.fd_name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.kind == "tcp" else f"udp {host}:{self.port}"


def parse_sockets(value: object) -> tuple[ListenSpec, ...]:
    """Check the sockets of a `spawn` or `listen`.

    Raises:
        BadMessage: A key is missing, or has a wrong type or value.
    """
    if value is None:
        return ()
    entries = cast("list[object]", value) if isinstance(value, list) else [None]
    if len(entries) > _MAX_SOCKETS:
        raise BadMessage(f"a run gets at most {_MAX_SOCKETS} sockets, not {len(entries)}")
    found = tuple(_socket(cast("Message", entry) if isinstance(entry, dict) else {}) for entry in entries)
    if len({one.name for one in found}) != len(found):
        raise BadMessage("two sockets have one name")
    return found


def _socket(given: Message) -> ListenSpec:
    name, kind = take_text(given, "name"), given.get("kind")
    if ":" in name or not name.isascii() or not name.isprintable():
        raise BadMessage(f"socket {name!r}: a name is printable ASCII without a colon")
    if kind not in _KINDS:
        raise BadMessage(f"socket {name}: kind is {kind!r}, not one of {', '.join(_KINDS)}")
    backlog = optional_int(given, "backlog", 1, 65_535) or 4096
    shared = optional_flag(given, "shared")
    if kind == "unix":
        return ListenSpec(
            name,
            "unix",
            path=take_text(given, "path"),
            mode=0o600 if given.get("mode") is None else optional_int(given, "mode", 0, 0o777) or 0,
            user=account("user", given.get("user")),
            group=account("group", given.get("group")),
            backlog=backlog,
            shared=shared,
        )
    if kind == "inherited":
        return ListenSpec(name, "inherited", fd_name=take_text(given, "fd_name"))
    host = take_text(given, "host")
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError as error:
        raise BadMessage(f"socket {name}: {host!r} is no IP address") from error
    port = optional_int(given, "port", 1, 65_535)
    if port is None:
        raise BadMessage(f"socket {name}: the port is missing")
    return ListenSpec(name, str(kind), host=host, port=port, backlog=backlog, shared=shared)
