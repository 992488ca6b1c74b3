"""A service manager's notify socket, read by the test."""

import select
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

__all__ = ["ServiceManager"]

_DEADLINE = 10.0


class ServiceManager:
    """Receives what a service says; use as a context manager.

    Args:
        path: Where the socket is bound; None: an abstract name.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if path is None:
            self.address = f"@orchestra-notify-{uuid.uuid4().hex}"
            self._socket.bind("\0" + self.address[1:])
        else:
            self.address = str(path)
            self._socket.bind(self.address)
        self.inbox: list[dict[str, str]] = []
        self.senders: set[int] = set()

    def environ(self, watchdog: float | None = None, pid: int | None = None) -> dict[str, str]:
        """Return what a manager adds to the environment of a service; `watchdog` in seconds."""
        env = {"NOTIFY_SOCKET": self.address}
        if watchdog is not None:
            env["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        if pid is not None:
            env["WATCHDOG_PID"] = str(pid)
        return env

    def expect(self, deadline: float = _DEADLINE, **fields: str) -> dict[str, str]:
        """Return the first message with these fields, read or yet to come; those before it are dropped."""
        return self.until(lambda message: fields.items() <= message.items(), str(fields), deadline)

    def until(
        self, match: Callable[[dict[str, str]], bool], what: str, deadline: float = _DEADLINE
    ) -> dict[str, str]:
        """Return the first message that matches; those before it are dropped."""
        end = time.monotonic() + deadline
        seen: list[dict[str, str]] = []
        while True:
            while self.inbox:
                seen.append(self.inbox.pop(0))
                if match(seen[-1]):
                    return seen[-1]
            left = end - time.monotonic()
            assert left > 0, f"not within {deadline} s: {what}; there were {seen}"
            self.read(left)

    def read(self, wait: float = 0.0) -> list[dict[str, str]]:
        """Take what has come, waiting up to `wait` seconds for the first message; return all unread ones."""
        while select.select([self._socket], [], [], wait)[0]:
            data, ancillary, _, _ = self._socket.recvmsg(65536, 256)
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self.senders.add(int.from_bytes(content[:4], "little"))
            lines = data.decode("utf-8").splitlines()
            self.inbox.append({name: value for name, _, value in (line.partition("=") for line in lines)})
            wait = 0.0
        return self.inbox

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if not self.address.startswith("@"):
            Path(self.address).unlink()
