"""The gateway's line to the daemon: what the fleet says of MCP, read again whenever it may have changed.

The daemon may be replaced at any time: whoever asks waits until the next one answers.
"""

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import cast

import anyio
import h11
from anyio import to_thread
from anyio.abc import UNIXSocketStream

from orchestra_supervisor.control_client import ControlClient, ControlError, Json, NoDaemon, rows
from orchestra_supervisor.gateway.backends.callbacks import Callbacks, NotDone
from orchestra_supervisor.model.states import State
from orchestra_supervisor.unix_http import connect, quote

__all__ = ["DaemonLink", "follow_events"]

_FIRST_PAUSE = 0.1  # seconds between two attempts to reach a daemon; doubled
_LONGEST_PAUSE = 2.0
_CONNECT_TIME = 5.0
_DAEMON_AWAY = 5.0  # seconds during which a daemon that is being replaced is waited for
_THREADS = 16  # questions at a time: each server behind the gateway may have one
_SILENCE = 40.0  # seconds; the daemon sends a comment every 15
_CHUNK = 64 * 1024

_STATES = frozenset(state.value for state in State)
"""Of the events of services, those that tell of another state."""

_log = logging.getLogger("orchestra.gateway")


class DaemonLink:
    """Asks the daemon.

    Args:
        path: The control socket.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._client = ControlClient(path, connect_wait=_DAEMON_AWAY)
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def read_config(self) -> Json:
        """Return what `GET /v1/mcp` says.

        Waits for a daemon that is away or being replaced.

        Raises:
            ControlError: It refuses.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._ask(lambda client: client.request("GET", "/v1/mcp"))
            except ControlError as error:
                if not isinstance(error, NoDaemon) and error.code != "timeout":
                    raise
                _log.info("%s: waiting for the daemon", error.message)
            await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def watch_config(self, apply: Callable[[Json], Awaitable[None]], known: Json) -> None:
        """Hand over what the daemon says of MCP, each time that it says something else; until cancelled.

        Args:
            apply: Takes it.
            known: What it said last.
        """

        async def take(event: Json) -> None:
            nonlocal known
            if event.get("kind") in {None, "config.reloaded"}:
                config = await self.read_config()
                if config != known:
                    known = config
                    await apply(config)

        await self._watch("config.", take)

    async def watch_services(self, tell: Callable[[str, str], None]) -> None:
        """Tell how each service is, now and whenever it is in another state; until cancelled.

        Args:
            tell: Gets the name and the state.
        """

        async def take(event: Json) -> None:
            kind = event.get("kind")
            if kind is None:  # what was said meanwhile is lost
                status = await self._ask(lambda client: client.status())
                for row in rows(status, "services"):
                    tell(str(row.get("name")), str(row.get("state")))
            elif (word := str(kind).removeprefix("service.")) in _STATES:
                tell(str(event.get("service")), word)

        await self._watch("service.", take)

    async def _watch(self, kind: str, take: Callable[[Json], Awaitable[None]]) -> None:
        """Follow events for ever, over the ends of daemons."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with aclosing(follow_events(self.path, kind)) as events:
                    async for event in events:
                        pause = _FIRST_PAUSE
                        await take(event)
            except (OSError, ControlError, h11.RemoteProtocolError, anyio.BrokenResourceError) as error:
                _log.info("the stream of events ended: %s", error)
            await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def callbacks(self) -> Callbacks:
        """Return the verbs that the servers behind the gateway need."""
        return Callbacks(
            start=self._start, stop=self._stop, hung=self._hung, scale=self._scale, headers=self._headers
        )

    async def _start(self, service: str) -> None:
        why = "a client of the gateway needs it"
        await self._act(lambda client: client.start([service], reason=why, demand=True))

    async def _stop(self, service: str) -> None:
        why = "no client of the gateway needs it"
        await self._act(lambda client: client.stop([service], reason=why, demand=True))

    async def _hung(self, service: str, why: str) -> None:
        await self._act(lambda client: client.restart([service], wait="none", reason=why, demand=True))

    async def _scale(self, service: str, replicas: int) -> list[str]:
        why = "as many as the clients of the gateway need"
        await self._act(lambda client: client.scale({service: replicas}, reason=why))
        status = await self._do(lambda client: client.status([service]))
        return [str(row["name"]) for row in rows(status, "services")]

    async def _headers(self, backend: str) -> dict[str, str]:
        body: Json = {"backend": backend}
        answer = await self._do(lambda client: client.request("POST", "/v1/mcp/headers", body=body))
        headers = answer.get("headers")
        named = cast("Json", headers) if isinstance(headers, dict) else {}
        return {name: str(value) for name, value in named.items()}

    async def _act(self, verb: Callable[[ControlClient], Json]) -> None:
        """Have services changed.

        Raises:
            NotDone: It did not come about.
        """
        failed = [row for row in rows(await self._do(verb), "results") if row.get("ok") is False]
        if failed:
            raise NotDone("; ".join(f"{row.get('name')}: {row.get('message')}" for row in failed))

    async def _do(self, verb: Callable[[ControlClient], Json]) -> Json:
        try:
            return await self._ask(verb)
        except ControlError as error:
            raise NotDone(f"{error.message}; {error.hint}" if error.hint else error.message) from error

    async def _ask(self, question: Callable[[ControlClient], Json]) -> Json:
        return await to_thread.run_sync(
            partial(question, self._client), limiter=self._limiter, abandon_on_cancel=True
        )


async def follow_events(path: str, kind: str) -> AsyncGenerator[Json, None]:
    """Yield the daemon's events as they happen; before the first one an empty object, once it is connected.

    Args:
        path: The control socket.
        kind: What their kinds begin with.

    Raises:
        OSError: It cannot be reached, or is silent for long.
        h11.RemoteProtocolError: What it sends is no HTTP.
    """
    plug = await to_thread.run_sync(connect, path, _CONNECT_TIME, abandon_on_cancel=True)
    plug.setblocking(False)  # noqa: FBT003 - its only argument
    async with await UNIXSocketStream.from_socket(plug) as stream:
        talk = h11.Connection(h11.CLIENT)
        target = f"/v1/events/stream?kind={quote(kind)}"
        request = h11.Request(method="GET", target=target, headers=[("Host", "daemon")])
        await stream.send((talk.send(request) or b"") + (talk.send(h11.EndOfMessage()) or b""))
        text = bytearray()
        while True:
            event = talk.next_event()
            if event is h11.NEED_DATA:
                with anyio.fail_after(_SILENCE):
                    try:
                        talk.receive_data(await stream.receive(_CHUNK))
                    except anyio.EndOfStream:
                        return
            elif isinstance(event, h11.Response):
                if event.status_code != 200:
                    raise h11.RemoteProtocolError(f"status {event.status_code} in place of a stream")
                yield {}
            elif isinstance(event, h11.Data):
                text += event.data
                while (end := text.find(b"\n\n")) >= 0:
                    block = bytes(text[:end])
                    del text[: end + 2]
                    for line in block.split(b"\n"):
                        if line.startswith(b"data:"):
                            yield cast("Json", json.loads(line[5:]))
            else:
                return
