"""Where links come from: a run's pipes, or a URL."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import anyio

from orchestra_supervisor.gateway.backends.channel import StdioChannel
from orchestra_supervisor.gateway.backends.framing import Noise
from orchestra_supervisor.gateway.backends.http_link import HttpLink
from orchestra_supervisor.gateway.backends.http_pool import HttpPool, parse_target
from orchestra_supervisor.gateway.backends.introduction import Introduction
from orchestra_supervisor.gateway.backends.link import Link, LinkError, Stray, Trouble
from orchestra_supervisor.gateway.backends.memory import EraMemory
from orchestra_supervisor.gateway.backends.stdio_link import StdioLink

__all__ = ["Demand", "Headers", "HttpSource", "Source", "StdioSource"]

Headers = Callable[[str], Awaitable[Mapping[str, str]]]
"""Returns a backend's headers, secrets filled in."""

_GUESSED_PATH = "/mcp"  # where a server is that is configured by host and port alone


class Source(Protocol):
    """Opens links to one process or URL."""

    @property
    def is_up(self) -> bool:
        """Return whether there is something to connect to, as far as can be told."""
        ...

    async def open(self, on_stray: Stray, noise: Noise) -> tuple[Link, Introduction | None]:
        """Wait until there is something to connect to.

        Returns:
            The link, and what the same process said when it was asked in an earlier life of the gateway.

        Raises:
            LinkError: It cannot be talked to.
        """
        ...

    def met(self, introduction: Introduction) -> None:
        """Remember what the server said."""
        ...

    def failed(self, error: Exception) -> bool:
        """Take note that it could not be connected; True: there is something else to try at once."""
        ...

    async def rest(self, seconds: float) -> None:
        """Wait before the next attempt; ends early when there is reason to try."""
        ...

    def poke(self) -> None:
        """End a rest: somebody waits."""
        ...

    def started(self) -> None:
        """Be told that its service was started."""
        ...

    async def stopped(self) -> None:
        """Be told that its service was stopped; returns when nothing of it is seen any more."""
        ...


class StdioSource:
    """See Source.

    Args:
        channel: From the keeper.
        memory: Of what servers said.
        backend: Its name.
        slot: The service.
    """

    def __init__(self, channel: StdioChannel, memory: EraMemory, backend: str, slot: str) -> None:
        self._channel = channel
        self._memory = memory
        self._backend = backend
        self._slot = slot
        self._run = ""
        self._poked = anyio.Event()

    @property
    def is_up(self) -> bool:
        """Return whether the service has a run."""
        return self._channel.pipes_of(self._slot) is not None

    async def open(self, on_stray: Stray, noise: Noise) -> tuple[Link, Introduction | None]:
        """Wait for a run; see Source."""
        while True:
            pipes = self._channel.pipes_of(self._slot)
            if pipes is None:
                await self._channel.wait_news(self._slot)
                continue
            await pipes.wait_free()  # a backend that is replaced lets go of them in a moment
            if pipes.is_open and not pipes.ended.is_set():
                break
        known = self._memory.of_run(self._slot, pipes.run)
        is_used = known is not None or self._run == pipes.run
        self._run = pipes.run
        return StdioLink(pipes, on_stray, noise, is_used=is_used), known

    def met(self, introduction: Introduction) -> None:
        """Remember what the server said."""
        self._memory.note_run(self._slot, self._run, introduction)
        self._memory.note_backend(self._backend, introduction.era)

    def failed(self, error: Exception) -> bool:  # noqa: ARG002 - of HTTP
        """Forget what its process said before."""
        self._memory.forget_run(self._slot)
        return False

    async def rest(self, seconds: float) -> None:
        """Wait, but not for a new run."""
        self._poked = anyio.Event()
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                group.start_soon(self._wait_run, group.cancel_scope)
                await self._poked.wait()
                group.cancel_scope.cancel()

    def poke(self) -> None:
        """End a rest."""
        self._poked.set()

    def started(self) -> None:
        """Nothing to note: the channel tells."""

    async def stopped(self) -> None:
        """Wait until the channel has told."""
        while self.is_up:
            await self._channel.wait_news(self._slot)

    async def _wait_run(self, scope: anyio.CancelScope) -> None:
        while True:
            pipes = self._channel.pipes_of(self._slot)
            if pipes is None or pipes.run != self._run:
                scope.cancel()
                return
            await self._channel.wait_news(self._slot)


class Demand:
    """Whether the service behind a URL should be there: known to all connections to it together.

    Args:
        is_wanted: From the beginning.
    """

    def __init__(self, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        self._wanted = anyio.Event()

    def start(self) -> None:
        """Expect it to be there."""
        self.is_wanted = True
        self._wanted.set()

    def stop(self) -> None:
        """Expect it no more."""
        if self.is_wanted:  # else somebody may wait for the event that there is
            self.is_wanted = False
            self._wanted = anyio.Event()

    async def wait(self) -> None:
        """Wait until it is expected."""
        while not self.is_wanted:
            await self._wanted.wait()


class HttpSource:
    """See Source.

    Args:
        memory: Of what servers said.
        backend: Its name.
        url: Of the server.
        headers: Asked at each connect.
        demand: For its service; until there is some, one attempt is made.
    """

    def __init__(self, memory: EraMemory, backend: str, url: str, headers: Headers, demand: Demand) -> None:
        self._memory = memory
        self._backend = backend
        self._url = url
        self._headers = headers
        self._demand = demand
        self._has_tried = False
        self._poked = anyio.Event()
        self._path = memory.path_of(backend) if _is_bare(url) else ""

    @property
    def is_up(self) -> bool:
        """Return whether its service should be there."""
        return self._demand.is_wanted

    async def open(self, on_stray: Stray, noise: Noise) -> tuple[Link, Introduction | None]:
        """Return a link; see Source."""
        if self._has_tried:
            await self._demand.wait()
        self._has_tried = True
        try:
            target = parse_target(self._url)
        except ValueError as error:
            raise LinkError(Trouble.NOT_MCP, str(error)) from error
        if self._path:
            target = target.with_path(self._path)
        try:
            headers = await self._headers(self._backend)
        except Exception as error:
            raise LinkError(Trouble.LOST, f"its headers cannot be had from the daemon ({error})") from error
        return HttpLink(HttpPool(target), tuple(headers.items()), on_stray, noise), None

    def met(self, introduction: Introduction) -> None:
        """Remember what the server said."""
        self._demand.start()
        self._memory.note_backend(self._backend, introduction.era, self._path)

    def failed(self, error: Exception) -> bool:
        """Look for the server at the usual path, where it is configured by host and port alone."""
        if not isinstance(error, LinkError) or error.trouble is not Trouble.NOT_MCP:
            return False
        self._path = _GUESSED_PATH if _is_bare(self._url) and not self._path else ""
        return bool(self._path)

    async def rest(self, seconds: float) -> None:
        """Wait, but not when somebody needs it."""
        self._poked = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._poked.wait()

    def poke(self) -> None:
        """End a rest."""
        self._poked.set()

    def started(self) -> None:
        """Expect it to be there."""
        self._demand.start()
        self.poke()

    async def stopped(self) -> None:
        """Expect it no more."""
        self._demand.stop()


def _is_bare(url: str) -> bool:
    """Return whether a URL names a server by host and port alone."""
    try:
        return parse_target(url).path == "/"
    except ValueError:
        return False
