"""What an instance is asked to tell of: its lists, and resources that somebody watches.

A handshake server tells of its lists by itself, and is asked for each resource. A stateless one is asked
for all of it by one request that stays open, and is asked anew when it is something else.
"""

from collections import Counter
from collections.abc import Callable

import anyio

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.introduction import Introduction, request
from orchestra_supervisor.gateway.backends.link import Link, LinkError
from orchestra_supervisor.gateway.backends.params import stamped
from orchestra_supervisor.gateway.endpoint import Era
from orchestra_supervisor.gateway.messages import Json, RpcError

__all__ = ["Subscriptions"]

_ASK_LIMIT = 10.0  # seconds for a subscription
_AGAIN = 5.0  # seconds before a stream that ended is asked for again


class Subscriptions:
    """See the module.

    Args:
        take: Gets the notifications.
        report: Told when the server is found to be gone.
    """

    def __init__(self, take: Callable[[Json], None], report: Callable[[LinkError], None]) -> None:
        self._take = take
        self._report = report
        self._wanted: Counter[str] = Counter()
        self._changed = anyio.Event()

    @property
    def uris(self) -> frozenset[str]:
        """Return the resources that somebody watches."""
        return frozenset(self._wanted)

    def watch(self, uri: str) -> Callable[[], None]:
        """Want to be told of a resource, until what is returned is called."""
        self._wanted[uri] += 1
        if self._wanted[uri] == 1:
            self._changed.set()
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._wanted[uri] -= 1
                if not self._wanted[uri]:
                    del self._wanted[uri]
                    self._changed.set()

        return end

    async def run(self, link: Link, introduction: Introduction) -> None:
        """Keep the server told of what is wanted, for as long as the link lives. For a task."""
        if introduction.era is Era.HANDSHAKE:
            await self._keep_subscribed(link)
        else:
            await self._keep_listening(link, introduction)

    async def _keep_subscribed(self, link: Link) -> None:
        told: frozenset[str] = frozenset()
        while True:
            self._changed = anyio.Event()
            wanted = self.uris
            for method, uris in (
                ("resources/subscribe", wanted - told),
                ("resources/unsubscribe", told - wanted),
            ):
                for uri in sorted(uris):
                    try:
                        with anyio.move_on_after(_ASK_LIMIT):
                            await request(link, method, {"uri": uri})
                    except RpcError:
                        continue  # it does not tell of this one
                    except LinkError:
                        return
            told = wanted
            await self._changed.wait()

    async def _keep_listening(self, link: Link, introduction: Introduction) -> None:
        while True:
            self._changed = anyio.Event()
            wanted = _filter(introduction, self.uris)
            if not wanted:
                await self._changed.wait()
                continue
            async with anyio.create_task_group() as group:
                group.start_soon(
                    self._listen, link, stamped({"notifications": wanted}, introduction.version, None)
                )
                await self._changed.wait()
                group.cancel_scope.cancel()

    async def _listen(self, link: Link, params: Json) -> None:
        while True:
            try:
                call = await link.begin("subscriptions/listen", params)
                try:
                    while "method" in (message := await call.next()):
                        if text(message, "method") != "notifications/subscriptions/acknowledged":
                            self._take(message)
                    if "error" in message:
                        return  # it cannot; its lists are asked for when it is connected again
                finally:
                    call.drop()
            except LinkError as error:
                self._report(error)
            await anyio.sleep(_AGAIN)


def _filter(introduction: Introduction, uris: frozenset[str]) -> Json:
    wanted: Json = {}
    for feature in ("tools", "prompts", "resources"):
        if introduction.can(feature, "listChanged"):
            wanted[f"{feature}ListChanged"] = True
    if uris and member(introduction.capabilities, "resources").get("subscribe") is True:
        wanted["resourceSubscriptions"] = sorted(uris)
    return wanted
