"""The way to the daemon for whoever asks: one client a caller, its blocking calls in threads.

The daemon is told for whom is asked, and acts with that caller's role at most.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread

from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.gateway.control.fields import text
from orchestra_supervisor.gateway.control.trouble import ToolTrouble, trouble_of
from orchestra_supervisor.gateway.control.untrusted import clean
from orchestra_supervisor.gateway.endpoint import Caller
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Desk", "caller_name", "client_name"]

T = TypeVar("T")

_SHORT = 16
_LONG = 64
_TIMEOUT = 20.0  # seconds for an answer that waits for nothing
_DAEMON_AWAY = 8.0  # seconds during which a daemon that is being replaced is waited for
_CLIENT_NAME = 60  # characters of what a client calls itself
_PRINCIPAL = 120


def client_name(caller: Caller) -> str:
    """Return what a client calls itself, fit to be shown: `claude-code 2.1`."""
    parts = [str(caller.client.get(key) or "") for key in ("name", "version")]
    said = " ".join(clean(" ".join(parts)).split())
    return said[:_CLIENT_NAME] or "unnamed client"


def caller_name(caller: Caller) -> str:
    """Return whom the daemon writes down: what the client calls itself, and who is known to call."""
    return f"{client_name(caller)} by {clean(caller.principal)[:_PRINCIPAL]}"


class Desk:
    """Asks the daemon.

    Args:
        home: The state directory.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._short = anyio.CapacityLimiter(_SHORT)
        self._long = anyio.CapacityLimiter(_LONG)

    def client(self, caller: Caller | None = None, *, connect_wait: float = _DAEMON_AWAY) -> ControlClient:
        """Return a client that asks for somebody; None: for the gateway itself."""
        behalf = None
        if caller is not None:
            behalf = {"name": caller_name(caller), "role": caller.role.name.lower()}
        path = socket_path(self.home)
        return ControlClient(path, timeout=_TIMEOUT, connect_wait=connect_wait, caller=behalf)

    async def ask(
        self, caller: Caller | None, question: Callable[[ControlClient], T], *, is_long: bool = False
    ) -> T:
        """Ask one question in a thread; who is cancelled does not wait for the answer.

        Args:
            caller: For whom.
            question: Calls the client.
            is_long: It waits for something to happen.

        Raises:
            ToolTrouble: The daemon refuses, fails or does not answer.
        """
        limiter = self._long if is_long else self._short
        work = partial(question, self.client(caller))
        try:
            return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        except ControlError as error:
            raise trouble_of(error) from error

    async def status(self, caller: Caller | None, names: Iterable[str] = ()) -> list[Json]:
        """Return the named services, or all.

        Raises:
            ToolTrouble: A name matches nothing: the hint has the nearest.
        """
        wanted = list(names)
        answer = await self.ask(caller, lambda client: client.status(wanted))
        return rows(answer, "services")

    async def one(self, caller: Caller | None, name: str) -> Json:
        """Return the one service that a name means.

        Raises:
            ToolTrouble: It means none, or several.
        """
        found = await self.status(caller, [name])
        if len(found) != 1:
            names = ", ".join(text(row, "name") for row in found[:12])
            raise ToolTrouble(f"{name!r} means {len(found)} services", f"name one of: {names}")
        return found[0]
