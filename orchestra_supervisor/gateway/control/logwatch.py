"""Logs that somebody is subscribed to: looked at once a second, and told of when their last line is another.

A look costs the daemon the last line of a file. To follow a log would cost more, and much where a service
writes a flood, while a subscriber is told once a second at most either way.
"""

from collections.abc import Callable
from functools import partial

import anyio

from orchestra_supervisor.control_client import rows
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.endpoint import Change, ChangeKind, Sink
from orchestra_supervisor.gateway.messages import INVALID_PARAMS, Json, RpcError

__all__ = ["MAX_LOGS", "LogWatch"]

MAX_LOGS = 64
"""Logs that are looked at; to subscribe to a further one is refused."""

_EVERY = 1.0  # seconds between two looks


class _Log:
    """A log, how many want to hear of it, and its last line as it was."""

    def __init__(self, name: str, last: list[Json]) -> None:
        self.name = name
        self.last = last
        self.watchers = 0


class LogWatch:
    """See the module.

    Args:
        desk: Asks the daemon.
        tell: Takes each change.
    """

    def __init__(self, desk: Desk, tell: Sink) -> None:
        self._desk = desk
        self._tell = tell
        self._logs: dict[str, _Log] = {}
        self._wanted = anyio.Event()

    @property
    def uris(self) -> frozenset[str]:
        """Return what is looked at."""
        return frozenset(self._logs)

    async def watch(self, uri: str, name: str) -> Callable[[], None]:
        """Tell of a log from here on, until what is returned is called. Counted: many may ask.

        Args:
            uri: By which it is told.
            name: The service.

        Raises:
            RpcError: Too many are looked at.
            ToolTrouble: The daemon refuses or does not answer.
        """
        last = await self._last(name)
        log = self._logs.get(uri)
        if log is None:
            if len(self._logs) >= MAX_LOGS:
                message = f"{MAX_LOGS} logs are watched: unsubscribe some, or use service_logs with since"
                raise RpcError(INVALID_PARAMS, message, {"uri": uri})
            log = self._logs[uri] = _Log(name, last)
            self._wanted.set()
        log.watchers += 1
        return partial(self._forget, uri, log, [True])

    async def run(self) -> None:
        """Look at what is watched, until cancelled."""
        while True:
            if not self._logs:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            await anyio.sleep(_EVERY)
            for uri, log in list(self._logs.items()):
                try:
                    last = await self._last(log.name)
                except ToolTrouble:
                    continue  # the daemon is being replaced, or the service is gone: its own resource tells
                if last != log.last and log.watchers:
                    log.last = last
                    self._tell(Change(ChangeKind.RESOURCE, uri))

    async def _last(self, name: str) -> list[Json]:
        return rows(await self._desk.ask(None, lambda client: client.logs(name, lines=1)), "lines")

    def _forget(self, uri: str, log: _Log, still: list[bool]) -> None:
        if not still:
            return
        still.clear()
        log.watchers -= 1
        if not log.watchers and self._logs.get(uri) is log:
            del self._logs[uri]
