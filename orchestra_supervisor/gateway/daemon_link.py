"""The gateway's line to the daemon: what the fleet says of MCP, read again whenever it may have changed.

The daemon may be replaced at any time: whoever asks waits until the next one answers.
"""

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import cast

import anyio
import h11
from anyio import to_thread
from anyio.abc import UNIXSocketStream

from orchestra_supervisor.control_client import ControlClient, ControlError, Json, NoDaemon
from orchestra_supervisor.unix_http import connect, quote

__all__ = ["DaemonLink", "follow_events"]

_FIRST_PAUSE = 0.1  # seconds between two attempts to reach a daemon; doubled
_LONGEST_PAUSE = 2.0
_CONNECT_TIME = 5.0
_SILENCE = 40.0  # seconds; the daemon sends a comment every 15
_CHUNK = 64 * 1024

_log = logging.getLogger("orchestra.gateway")


class DaemonLink:
    """Asks the daemon.

    Args:
        path: The control socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._client = ControlClient(path)
        self._limiter = anyio.CapacityLimiter(4)

    async def read_config(self) -> Json:
        """Return what `GET /v1/mcp` says, and the control group as `control_group`.

        Waits for a daemon that is away or being replaced.

        Raises:
            ControlError: It refuses.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                config = await self._ask("/v1/mcp")
                health = await self._ask("/v1/health")
            except ControlError as error:
                if not isinstance(error, NoDaemon) and error.code != "timeout":
                    raise
                _log.info("%s: waiting for the daemon", error.message)
            else:
                return {"control_group": None, **health, **config}
            await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def watch_config(self, apply: Callable[[Json], Awaitable[None]], known: Json) -> None:
        """Hand over what the daemon says of MCP, each time that it says something else; until cancelled.

        Args:
            apply: Takes it.
            known: What it said last.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                async with aclosing(follow_events(self.path, "config.")) as events:
                    async for event in events:
                        pause = _FIRST_PAUSE
                        if event.get("kind") in {None, "config.reloaded"}:
                            config = await self.read_config()
                            if config != known:
                                known = config
                                await apply(config)
            except (OSError, ControlError, h11.RemoteProtocolError, anyio.BrokenResourceError) as error:
                _log.info("the stream of events ended: %s", error)
            await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _ask(self, path: str) -> Json:
        ask = partial(self._client.request, "GET", path)
        return await to_thread.run_sync(ask, limiter=self._limiter, abandon_on_cancel=True)


async def follow_events(path: Path, kind: str) -> AsyncGenerator[Json, None]:
    """Yield the daemon's events as they happen; before the first one an empty object, once it is connected.

    Args:
        path: The control socket.
        kind: What their kinds begin with.

    Raises:
        OSError: It cannot be reached, or is silent for long.
        h11.RemoteProtocolError: What it sends is no HTTP.
    """
    plug = await to_thread.run_sync(connect, str(path), _CONNECT_TIME, abandon_on_cancel=True)
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
