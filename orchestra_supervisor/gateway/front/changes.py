"""Changes on their way to one listener: collected for a moment, so that a burst is one notification."""

from collections.abc import Callable

import anyio

from orchestra_supervisor.gateway.endpoint import Change, ChangeKind
from orchestra_supervisor.gateway.messages import Json

__all__ = ["GATHER_TIME", "Changes", "declared_kinds", "notification_of"]

GATHER_TIME = 0.25
"""Seconds between the first change of a burst and its notification."""


class Changes:
    """The changes that a listener has not been told yet, each once.

    As many as there are kinds and watched resources: `wants` bounds it.

    Args:
        wants: Says whether the listener asked for a change.
    """

    def __init__(self, wants: Callable[[Change], bool]) -> None:
        self._wants = wants
        self._waiting: dict[Change, None] = {}
        self._arrived = anyio.Event()

    def tell(self, change: Change) -> None:
        """Take a change; a `Sink`."""
        if self._wants(change):
            self._waiting[change] = None
            self._arrived.set()

    async def gather(self) -> list[Change]:
        """Wait for a change, then for those that come with it, and return them all."""
        await self._arrived.wait()
        await anyio.sleep(GATHER_TIME)
        self._arrived = anyio.Event()
        gathered, self._waiting = [change for change in self._waiting if self._wants(change)], {}
        return gathered


def declared_kinds(capabilities: Json) -> set[ChangeKind]:
    """Return the kinds of change that an endpoint says it tells of."""
    pairs = (
        ("tools", "listChanged", ChangeKind.TOOLS),
        ("prompts", "listChanged", ChangeKind.PROMPTS),
        ("resources", "listChanged", ChangeKind.RESOURCES),
        ("resources", "subscribe", ChangeKind.RESOURCE),
    )
    declared: set[ChangeKind] = set()
    for capability, option, kind in pairs:
        offered = capabilities.get(capability)
        if isinstance(offered, dict) and offered.get(option) is True:  # pyright: ignore[reportUnknownMemberType] - JSON
            declared.add(kind)
    return declared


def notification_of(change: Change, meta: Json | None = None) -> Json:
    """Return a change as the notification that tells of it."""
    params: Json = {}
    if change.kind is ChangeKind.RESOURCE:
        params["uri"] = change.uri
    if meta:
        params["_meta"] = meta
    message: Json = {"jsonrpc": "2.0", "method": change.kind.value}
    if params:
        message["params"] = params
    return message
