"""What an instance holds open to its server for as long as it is connected: the streams of what that tells.

A server over HTTP that is told to end may wait for every connection, and so for these. So they are let go of
while its service stops, and calls that are on their way are left alone.
"""

import anyio

from orchestra_supervisor.gateway.backends.http_link import HttpLink
from orchestra_supervisor.gateway.backends.introduction import Introduction
from orchestra_supervisor.gateway.backends.link import Link
from orchestra_supervisor.gateway.backends.subscriptions import Subscriptions
from orchestra_supervisor.gateway.endpoint import Era

__all__ = ["Standing"]


class Standing:
    """See the module.

    Args:
        subscriptions: What the server is asked to tell of.
    """

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions
        self._free = anyio.Event()
        self._free.set()
        self._scope: anyio.CancelScope | None = None

    @property
    def is_let_go(self) -> bool:
        """Return whether nothing is held open, now and until `take_up`."""
        return not self._free.is_set()

    def let_go(self) -> None:
        """Close the streams, and the connections that nobody uses; open none until `take_up`."""
        if self._free.is_set():
            self._free = anyio.Event()
        if self._scope is not None:
            self._scope.cancel()

    def take_up(self) -> None:
        """Open them again, on the link that there is or on the next."""
        self._free.set()

    async def run(self, link: Link, introduction: Introduction) -> None:
        """Hold them open for as long as the link lives. For a task."""
        is_over = False
        while not is_over:
            await self._free.wait()
            with anyio.CancelScope() as self._scope:
                await self._hold(link, introduction)
            is_over = not self._scope.cancel_called
            if not is_over and isinstance(link, HttpLink):
                link.let_go()

    async def _hold(self, link: Link, introduction: Introduction) -> None:
        async with anyio.create_task_group() as group:
            if isinstance(link, HttpLink) and introduction.era is Era.HANDSHAKE:
                group.start_soon(link.listen)
            group.start_soon(self._subscriptions.run, link, introduction)
