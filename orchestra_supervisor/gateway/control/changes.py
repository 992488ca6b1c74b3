"""What the daemon tells of, as changes that subscribers are told: who watches the fleet sees it move.

The daemon's stream of events is followed by one thread for all. One that breaks is taken up a little before
where it broke: a daemon that is killed has told what it did not come to keep, and a next one of an older
version gives the same numbers to other events; to be told twice of a change does no harm. Where a stream
cannot be taken up, everybody is told that anything may have changed.
"""

import contextlib
import socket
from collections.abc import Callable
from functools import partial

import anyio
from anyio import from_thread, to_thread

from orchestra_supervisor.control_client import ControlError, SseEvent
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import text
from orchestra_supervisor.gateway.endpoint import Change, ChangeKind, Sink

__all__ = ["CONFIG", "STATUS", "Changes", "changes_of", "logs_uri", "service_uri"]

STATUS = "fleet://status"
CONFIG = "fleet://config"
_RETRY = 0.5  # seconds before a stream that broke is opened again
_AGAIN = 1_000  # events before the last one that are asked for again; a daemon keeps what it told in 20 ms
_SILENCE = 60.0  # seconds without a byte after which a stream is given up; the daemon says something every 15
_QUIET = ("mcp.", "log.", "journal.")


def service_uri(name: str) -> str:
    """Return the resource of a service."""
    return f"service://{name}"


def logs_uri(name: str) -> str:
    """Return the resource of a service's log."""
    return f"service://{name}/logs"


def changes_of(kind: str, service: str) -> list[Change]:
    """Return what an event of the daemon changes."""
    if kind.startswith(_QUIET):
        return []
    updated = [Change(ChangeKind.RESOURCE, STATUS)]
    if service:
        updated.append(Change(ChangeKind.RESOURCE, service_uri(service)))
    if kind == "config.reloaded":
        updated += [
            Change(ChangeKind.RESOURCE, CONFIG),
            Change(ChangeKind.RESOURCES),
        ]
    return updated


class Changes:
    """Tells sinks what changes, for as long as it runs.

    Args:
        desk: Asks the daemon.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._sinks: dict[object, Sink] = {}
        self._last = ""
        self._socket: socket.socket | None = None
        self._hung_up = False

    def listen(self, sink: Sink) -> Callable[[], None]:
        """Tell a sink until what is returned is called."""
        key = object()
        self._sinks[key] = sink
        return lambda: self._sinks.pop(key, None) and None

    async def run(self) -> None:
        """Follow the daemon until cancelled."""
        while True:
            try:
                await self._follow()
            except ControlError as error:
                if error.code not in {"no_daemon", "timeout"}:
                    self._last = ""
            if not self._last:
                for change in changes_of("config.reloaded", ""):
                    self.tell(change)
            await anyio.sleep(_RETRY)

    async def _follow(self) -> None:
        error: ControlError | None = None
        self._hung_up = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hang_up)
            error = await to_thread.run_sync(self._read, limiter=anyio.CapacityLimiter(1))
            tasks.cancel_scope.cancel()
        if error is not None:
            raise error

    async def _hang_up(self) -> None:
        """Shut the connection down when cancelled: the thread that reads it then comes to an end."""
        try:
            await anyio.sleep_forever()
        finally:
            self._hung_up = True
            connection, self._socket = self._socket, None
            _shut_down(connection)

    def _opened(self, connection: socket.socket) -> None:
        self._socket = connection
        if self._hung_up:  # while it was being opened, when there was nothing to shut down
            _shut_down(connection)

    def _read(self) -> ControlError | None:
        """Read until the stream ends, in a thread."""
        client = self._desk.client(connect_wait=0.0)
        query = {"after": max(0, int(self._last) - _AGAIN) if self._last else None}
        try:
            stream = client.stream("/v1/events/stream", query, idle=_SILENCE, opened=self._opened)
            with contextlib.closing(stream):
                for event in stream:
                    from_thread.run_sync(partial(self._take, event))
        except ControlError as error:
            return error
        finally:
            self._socket = None
        return None

    def _take(self, event: SseEvent) -> None:
        self._last = event.id if event.id.isdigit() else self._last
        for change in changes_of(event.event, text(event.data, "service")):
            self.tell(change)

    def tell(self, change: Change) -> None:
        """Tell all sinks of a change."""
        for sink in tuple(self._sinks.values()):
            sink(change)


def _shut_down(connection: socket.socket | None) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
