"""The gateway process: takes its sockets, asks the daemon what to serve, serves it, and ends in order.

It ends when it is told to (SIGTERM), and by itself when nobody used it for a while: its sockets are held by
the keeper, and the next connection starts it again.
"""

import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream, TaskGroup, TaskStatus

from orchestra_supervisor.control_client import ControlError
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.gateway.access import Access
from orchestra_supervisor.gateway.daemon_link import DaemonLink
from orchestra_supervisor.gateway.endpoint import Caller
from orchestra_supervisor.gateway.front.guard import HostGuard
from orchestra_supervisor.gateway.front.http import HttpFront
from orchestra_supervisor.gateway.front.identity import NotAllowed
from orchestra_supervisor.gateway.front.lines import LineFront
from orchestra_supervisor.gateway.front.serving import HttpServer
from orchestra_supervisor.gateway.front.session_ids import SessionKey, load_session_key
from orchestra_supervisor.gateway.front.sessions import Session, Sessions
from orchestra_supervisor.gateway.front.wire import as_object, encode, error_response
from orchestra_supervisor.gateway.messages import INVALID_REQUEST, Json, RpcError
from orchestra_supervisor.gateway.parts import Part, Parts, make_parts
from orchestra_supervisor.gateway.places import GatewayPlaces
from orchestra_supervisor.gateway.presence import present
from orchestra_supervisor.unix_peer import peer_of_socket

__all__ = [
    "HTTP_SOCKET",
    "LINE_SOCKET",
    "Gateway",
    "Settings",
    "end_at_signal",
    "inherited_sockets",
    "run_gateway",
]

LINE_SOCKET = "mcp"
HTTP_SOCKET = "mcp_http"
"""Names of our sockets in LISTEN_FDNAMES."""
FINISH_TIME = 2.0
"""Seconds that requests get to be answered when the gateway ends."""
MAX_LINES = 1024
"""Connections on the Unix socket; a further one is told to come again."""

_FIRST_FD = 3
_IDLE_LOOK = 5.0  # seconds between two looks whether anybody is there, at most
_FLUSH_TIME = 0.3  # seconds that last answers get to be written
_ACCEPT_PAUSE = 0.1  # seconds after an accept that failed: no descriptor is free, say

_log = logging.getLogger("orchestra.gateway")


@dataclass(frozen=True, slots=True)
class Settings:
    """What of `GET /v1/mcp` the process itself goes by.

    Attributes:
        http: `address:port` that HTTP clients use, or None.
        is_open: They need no token.
        idle_stop: Seconds without a client after which the gateway ends; 0: never.
        group: Name of the group that operates the fleet, or None.
    """

    http: str | None = None
    is_open: bool = False
    idle_stop: float = 0.0
    group: str | None = None

    @classmethod
    def from_config(cls, config: Json) -> "Settings":
        """Return what an answer of the daemon says."""
        settings = as_object(config.get("settings"))
        http, idle, group = (settings.get(name) for name in ("http", "idle_stop", "control_group"))
        return cls(
            http=http if isinstance(http, str) else None,
            is_open=settings.get("auth") == "none",
            idle_stop=float(idle) if isinstance(idle, int | float) else 0.0,
            group=group if isinstance(group, str) else None,
        )


class _EndingSessions(Sessions):
    """Sessions over HTTP, of which each end is told: not of those that only leave the memory.

    Args:
        key: Makes and reads their ids.
        tell: Gets whose session is over.
    """

    def __init__(self, key: SessionKey, tell: Callable[[Caller], None]) -> None:
        super().__init__(key)
        self._tell = tell

    def end(self, session: Session) -> None:
        """End a session for good."""
        super().end(session)
        self._tell(session.conversation.caller)


class Gateway:
    """One gateway, from its sockets to its end.

    Args:
        home: The state directory.
        settings: As the daemon says.
        parts: Those who answer.
    """

    def __init__(self, home: Path, settings: Settings, parts: Parts) -> None:
        self._parts = parts
        self._settings = settings
        self._access = Access(home, is_open=settings.is_open, group=settings.group)
        self._places = GatewayPlaces(parts)
        names = [] if settings.http is None else [settings.http.rpartition(":")[0].strip("[]")]
        self._sessions = _EndingSessions(load_session_key(home), parts.servers.left)
        self._http_front = HttpFront(self._places, self._access, self._sessions, HostGuard(names))
        self._http = HttpServer(self._http_front)
        self._lines = LineFront(self._places)
        self._served = 0
        self._ending = anyio.Event()

    def end(self) -> None:
        """End in order."""
        self._ending.set()

    async def apply(self, config: Json) -> None:
        """Take what the daemon says now; the addresses are the keeper's matter."""
        self._settings = settings = Settings.from_config(config)
        self._access.is_open, self._access.group = settings.is_open, settings.group
        for part in (self._parts.control, self._parts.servers):
            await part.apply(config)
        self._lines.check_places()

    async def run(self, sockets: Mapping[str, socket.socket]) -> None:
        """Serve on these listening sockets until `end`, or until nobody is there any more."""
        async with anyio.create_task_group() as outer:
            for part in (self._parts.control, self._parts.servers):
                await outer.start(self._run_part, part)
            outer.start_soon(self._http_front.run)
            async with anyio.create_task_group() as accepting:
                if HTTP_SOCKET in sockets:
                    self._warn()
                    await accepting.start(self._http.serve, sockets[HTTP_SOCKET])
                if LINE_SOCKET in sockets:
                    listener = await SocketListener.from_socket(sockets[LINE_SOCKET])
                    accepting.start_soon(self._accept, listener, outer)
                accepting.start_soon(self._watch_idle)
                await self._ending.wait()
                accepting.cancel_scope.cancel()
            await self._close()
            outer.cancel_scope.cancel()

    async def _run_part(
        self, part: Part, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        await part.run(task_status=task_status)
        self.end()  # it cannot go on: the next gateway can

    async def _close(self) -> None:
        self._lines.end()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._http.close, FINISH_TIME)
            tasks.start_soon(self._close_lines)

    async def _close_lines(self) -> None:
        with anyio.move_on_after(FINISH_TIME):
            while self._lines.running:  # noqa: ASYNC110 - each request ends by itself
                await anyio.sleep(0.01)
        self._lines.cancel()
        with anyio.move_on_after(_FLUSH_TIME):
            while not self._lines.is_written:  # noqa: ASYNC110 - likewise
                await anyio.sleep(0.01)
        self._lines.close()

    async def _accept(self, listener: SocketListener, tasks: TaskGroup) -> None:
        """Take connections until cancelled; those that are open go on in `tasks`."""
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    _log.warning("cannot take a connection: %s", error.strerror)
                    await anyio.sleep(_ACCEPT_PAUSE)
                    continue
                self._served += 1
                tasks.start_soon(self._talk, stream)

    async def _talk(self, stream: SocketStream) -> None:
        try:
            if self._lines.connections >= MAX_LINES:
                raise NotAllowed(f"{MAX_LINES} clients are connected: come again later")
            plug = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
            identity = self._access.by_peer(peer_of_socket(plug))
        except NotAllowed as error:
            refusal = encode(error_response(None, RpcError(INVALID_REQUEST, str(error)))) + b"\n"
            with suppress(OSError, anyio.BrokenResourceError), anyio.move_on_after(_FLUSH_TIME):
                async with stream:
                    await stream.send(refusal)
            return
        with present():
            await self._lines.talk(stream, identity)

    async def _watch_idle(self) -> None:
        """End when nobody was connected, nothing was asked and no session was used for long."""
        used_at, seen = anyio.current_time(), -1
        while True:
            limit = self._settings.idle_stop
            await anyio.sleep(min(_IDLE_LOOK, limit / 4) if limit else _IDLE_LOOK)
            served = self._served + self._http.served
            busy = self._http.connections + self._lines.connections + self._http_front.running
            if busy or served != seen:
                used_at, seen = anyio.current_time(), served
            elif limit and anyio.current_time() >= used_at + limit:
                _log.info("nobody was here for %g s", limit)
                self.end()

    def _warn(self) -> None:
        if self._settings.is_open:
            _log.warning(
                "settings.mcp.auth is none: whoever reaches %s operates this fleet; hint: set it to token",
                self._settings.http,
            )


async def run_gateway(home: Path, sockets: Mapping[str, socket.socket]) -> int:
    """Run the gateway of a fleet until it ends.

    Args:
        home: The state directory.
        sockets: Listening, by the names above.

    Returns:
        The exit status.
    """
    stopped, status = anyio.Event(), 0
    async with anyio.create_task_group() as tasks:
        await tasks.start(_take_signals, stopped)
        link = DaemonLink(socket_path(home))
        try:
            config = await _first_config(link, stopped)
        except ControlError as error:
            # Not an exception of ours to trace: the daemon says all there is to say.
            _log.error("cannot ask what to serve: %s; hint: %s", error.message, error.hint)
            status = 1
        else:
            if config is not None:
                parts = make_parts(home, config, link.callbacks(), os.environ)
                gateway = Gateway(home, Settings.from_config(config), parts)
                tasks.start_soon(link.watch_config, gateway.apply, config)
                tasks.start_soon(link.watch_services, parts.servers.told)
                tasks.start_soon(_end_when, stopped, gateway)
                await gateway.run(sockets)
        tasks.cancel_scope.cancel()
    return status


async def _take_signals(
    stopped: anyio.Event, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            stopped.set()


async def _first_config(link: DaemonLink, stopped: anyio.Event) -> Json | None:
    """Return what the daemon says to serve; None where we are told to end first."""
    found: list[Json | ControlError] = []
    async with anyio.create_task_group() as race:

        async def ask() -> None:
            try:
                found.append(await link.read_config())
            except ControlError as error:
                found.append(error)
            race.cancel_scope.cancel()

        race.start_soon(ask)
        await stopped.wait()
        race.cancel_scope.cancel()
    if not found:
        return None
    if isinstance(found[0], ControlError):
        raise found[0]
    return found[0]


async def _end_when(stopped: anyio.Event, gateway: Gateway) -> None:
    await stopped.wait()
    gateway.end()


async def end_at_signal(
    gateway: Gateway, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """End a gateway in order at SIGTERM or SIGINT; for one that runs without a fleet."""
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(_take_signals, stopped)
        task_status.started()
        await _end_when(stopped, gateway)
        tasks.cancel_scope.cancel()


def inherited_sockets(environ: Mapping[str, str]) -> dict[str, socket.socket]:
    """Return the listening sockets that this process was started with, by name.

    Raises:
        ValueError: The variables do not say what they must.
        OSError: A descriptor is none, or no socket.

    Source: sd_listen_fds(3).
    """
    if environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
        raise ValueError("LISTEN_PID names another process")
    count = int(environ.get("LISTEN_FDS", "0"))
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    if len(names) < count:
        raise ValueError(f"LISTEN_FDNAMES names {len(names)} of {count} descriptors")
    found: dict[str, socket.socket] = {}
    for number in range(count):
        descriptor = _FIRST_FD + number
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument
        found[names[number]] = socket.socket(fileno=descriptor)
    return found
