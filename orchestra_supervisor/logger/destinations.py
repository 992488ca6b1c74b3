"""Where lines go besides their file: how an entry looks to journald, syslog or a console, and its way."""

import array
import errno
import fcntl
import os
import socket
import time
from dataclasses import dataclass

from orchestra_supervisor.logger.console import Console, encode_console

__all__ = ["JOURNALD", "Connection", "Destination", "Entry", "Route", "connect", "encode", "send"]

Connection = socket.socket | Console

JOURNALD = "/run/systemd/journal/socket"
"""Where journald takes entries in its own protocol. Source: systemd, "Native Journal Protocol"."""

_MOST_DATAGRAM = 8192  # bytes; what receivers of syslog take at least (RFC 5426, RFC 3164's successors)
_ERR, _NOTICE, _INFO = 3, 5, 6  # severities, RFC 5424
_PRIORITIES = {"stderr": _ERR, "stdout": _INFO}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Destination:
    """One place to send lines to.

    Attributes:
        protocol: `journald`, `rfc5424`, `rfc3164` or `console`.
        transport: `unix`, `udp`, `tcp` or `stream`.
        address: Path, or host and port; the host is a number: nothing is looked up.
        facility: Number of the facility, RFC 5424 table 1.
        layout: Of a console: `raw`, `prefix` or `json`.
    """

    protocol: str
    transport: str
    address: str | tuple[str, int]
    facility: int = 3
    layout: str = "raw"

    @property
    def is_stream(self) -> bool:
        """True where a part of an entry may be sent, and the rest of it later."""
        return self.transport in ("tcp", "stream")

    @property
    def name(self) -> str:
        """Return it as people write it."""
        if isinstance(self.address, str):
            return self.address
        host, port = self.address
        return f"{self.transport}://{f'[{host}]' if ':' in host else host}:{port}"


@dataclass(frozen=True, slots=True)
class Route:
    """A destination, and the stream whose lines go there: `stdout`, `stderr` or `both`."""

    destination: Destination
    stream: str = "both"

    def takes(self, stream: str) -> bool:
        """Return whether lines of a stream go there; ours go everywhere."""
        return not stream or self.stream in ("both", stream)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line for a destination; `stream` is empty for a line of ours."""

    service: str
    run: str
    stream: str
    data: bytes
    at_wall: float


def encode(destination: Destination, entry: Entry) -> bytes:
    """Return an entry in the words of a destination, framed as its transport wants it."""
    if destination.protocol == "console":
        return encode_console(
            destination.layout,
            service=entry.service,
            run=entry.run,
            stream=entry.stream,
            data=entry.data,
            at_wall=entry.at_wall,
        )
    priority = _PRIORITIES.get(entry.stream, _NOTICE)
    if destination.protocol == "journald":
        return _native(entry, priority)
    value = destination.facility * 8 + priority
    message = _rfc5424(entry, value) if destination.protocol == "rfc5424" else _rfc3164(entry, value)
    if destination.transport == "tcp":
        return b"%d %s" % (len(message), message)  # octet counting, RFC 6587
    return message[:_MOST_DATAGRAM]


def connect(destination: Destination) -> Connection:
    """Return a socket that is connected, or about to be; or an output that is open.

    Raises:
        OSError: There is nobody.
    """
    address = destination.address
    if destination.protocol == "console":
        return Console(str(address))
    if isinstance(address, str):
        family, kind = socket.AF_UNIX, socket.SOCK_DGRAM
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        kind = socket.SOCK_STREAM if destination.transport == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind)
    sock.settimeout(0)
    code = sock.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(code, os.strerror(code), destination.name)
    return sock


def send(sock: Connection, destination: Destination, data: bytes) -> int:
    """Send what can be sent now; return the number of bytes that are done with.

    Raises:
        BlockingIOError: Nothing can be sent now.
        OSError: The other side is gone.
    """
    if isinstance(sock, Console):
        return sock.send(data)
    try:
        if destination.transport == "tcp" and _is_closed(sock):
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return sock.send(data)
    except OSError as error:
        if destination.protocol != "journald" or error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
            raise
    _send_by_memory(sock, data)  # too large for a datagram: journald takes a sealed file in its place
    return len(data)


def _is_closed(sock: socket.socket) -> bool:
    """Return whether the other side has hung up; what is sent after that would be lost unseen."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def _send_by_memory(sock: socket.socket, data: bytes) -> None:
    fd = os.memfd_create("orchestra-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        sock.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    finally:
        os.close(fd)


def _native(entry: Entry, priority: int) -> bytes:
    fields = (
        (b"PRIORITY", b"%d" % priority),
        (b"SYSLOG_IDENTIFIER", _text(entry.service)),
        (b"ORCHESTRA_SERVICE", _text(entry.service)),
        (b"ORCHESTRA_RUN", _text(entry.run)),
        (b"ORCHESTRA_STREAM", _text(entry.stream)),
    )
    plain = b"".join(b"%s=%s\n" % field for field in fields)
    # By length, so that no byte of a line can end the field or begin another.
    return plain + b"MESSAGE\n" + len(entry.data).to_bytes(8, "little") + entry.data + b"\n"


def _rfc5424(entry: Entry, value: int) -> bytes:
    seconds = time.gmtime(entry.at_wall)
    at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{int(entry.at_wall % 1 * 1e6):06d}Z"
    head = f"<{value}>1 {at} {_word(socket.gethostname(), 255)} {_word(entry.service, 48)} "
    head += f"{_word(entry.run, 128)} {_word(entry.stream, 32)} - "
    return head.encode("ascii") + entry.data


def _rfc3164(entry: Entry, value: int) -> bytes:
    at = time.localtime(entry.at_wall)
    head = f"<{value}>{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2d} {time.strftime('%H:%M:%S', at)} "
    return f"{head}{_word(entry.service, 32)}[{_word(entry.run[-12:], 32)}]: ".encode("ascii") + entry.data


def _word(text: str, limit: int) -> str:
    """Return printable ASCII without spaces, or the sign for nothing."""
    return "".join(sign if "!" <= sign <= "~" else "_" for sign in text[:limit]) or "-"


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace").replace(b"\n", b"_")
