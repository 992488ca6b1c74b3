"""Datagrams to the service manager that started the keeper: the sending half of sd_notify.

Source: sd_notify(3), "Notes"; systemd.service(5), `WatchdogSec=`.
"""

import os
import socket
from collections import deque
from collections.abc import MutableMapping
from contextlib import suppress

from orchestra_supervisor.keeper.loop import Loop, Timer, say

__all__ = ["ServiceManager"]

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_WAITING = 64  # datagrams that may wait for a manager that does not read; the oldest are dropped
_RETRY = 0.25  # seconds until they are tried again
_LINE_LIMIT = 2048  # bytes of a status line; the manager cuts longer ones itself


class ServiceManager:
    """Whoever listens on NOTIFY_SOCKET, or nobody.

    Args:
        loop: Tries again what the manager's socket did not take.
        address: A path or an abstract name that begins with `@`; empty: there is no manager.
        watchdog: Seconds within which the manager wants a sign of life, or None.
    """

    def __init__(self, loop: Loop, address: str, watchdog: float | None) -> None:
        self._loop = loop
        self._address = address.encode("utf-8", "surrogateescape")
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque(maxlen=_WAITING)
        self._retry: Timer | None = None
        self.watchdog = watchdog if address else None
        if not address:
            return
        if address[0] not in "/@":
            say(f"NOTIFY_SOCKET is {address!r}, not a path or an abstract name; the manager is not told")
            self.watchdog = None
            return
        if address[0] == "@":
            self._address = b"\0" + self._address[1:]
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError as error:
            say(f"no socket for the service manager: {error.strerror}")

    @classmethod
    def from_environ(cls, loop: Loop, environ: MutableMapping[str, str]) -> "ServiceManager":
        """Find the manager in an environment, and take it out: it is spoken to by the keeper alone."""
        address, period, pid = (environ.pop(name, "") for name in _VARIABLES)
        watchdog = None
        if period.isascii() and period.isdigit() and int(period) and pid in ("", str(os.getpid())):
            watchdog = int(period) / 1e6
        return cls(loop, address, watchdog)

    @property
    def is_there(self) -> bool:
        """True when there is somebody to tell."""
        return self._socket is not None

    def tell(self, **fields: object) -> None:
        """Send one datagram of `NAME=value` lines; it waits when the manager does not read just now."""
        if self._socket is None:
            return
        self._waiting.append(_encoded(fields))
        if self._retry is None:
            self._flush()

    def beat(self, **fields: object) -> None:
        """As `tell`, but what cannot be sent at once is dropped: the next beat says the same."""
        if self._socket is not None and not self._waiting:
            with suppress(OSError):
                self._send(_encoded(fields))

    def close(self) -> None:
        """Speak no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _flush(self) -> None:
        self._retry = None
        while self._waiting and self._socket is not None:
            try:
                self._send(self._waiting[0])
            except (BlockingIOError, InterruptedError):
                self._retry = self._loop.call_later(_RETRY, self._flush)
                return
            except OSError as error:
                say(f"the service manager was not told: {error.strerror}")
            self._waiting.popleft()

    def _send(self, data: bytes) -> None:
        assert self._socket is not None, "callers look first"
        flags = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
        self._socket.sendto(data, flags, self._address)


def _encoded(fields: dict[str, object]) -> bytes:
    lines = (f"{name}={_line(str(value))}" for name, value in fields.items())
    return "\n".join(lines).encode("utf-8", "replace")


def _line(text: str) -> str:
    text = " ".join(text.split())  # a line break would begin another assignment
    data = text.encode("utf-8", "replace")
    return text if len(data) <= _LINE_LIMIT else data[:_LINE_LIMIT].decode("utf-8", "ignore")
