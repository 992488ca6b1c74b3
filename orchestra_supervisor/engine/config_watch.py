"""Reloads when a file of the configuration changes: opt-in by `settings.watch_config`."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.engine.reload import Inputs, Reloader
from orchestra_supervisor.engine.watches import ChangeFeed, gather
from orchestra_supervisor.model.errors import ConflictError, OrchestraError
from orchestra_supervisor.model.spec import FleetSettings

__all__ = ["BY", "ConfigWatch"]

BY = "file watch"
"""Who asked for the reload, as the journal has it."""


class ConfigWatch:
    """Watches the files of the fleet while its settings ask for that.

    What the files hold is judged once: a file that is only touched is no reload, and one that is wrong is
    refused once, not again and again. Whatever was written while nobody looked (the daemon was away, a
    reload went on) is found by comparing with the applied fleet when a watch begins.

    Args:
        clock: Time.
        bus: Where events go.
        reloader: Plans and reloads.
        settings: Returns the settings as they are applied.
        open_watch: Watches files for the time of a block.
        content: Returns a digest of what files hold.
        seen: Called when they hold something else, were it only the values of secrets.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        bus: EventBus,
        reloader: Reloader,
        settings: Callable[[], FleetSettings],
        open_watch: Callable[[Inputs], AbstractAsyncContextManager[ChangeFeed]],
        content: Callable[[Inputs], Awaitable[str]],
        seen: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._reloader = reloader
        self._settings = settings
        self._open = open_watch
        self._content = content
        self._seen = seen
        self._judged = ""
        self._trouble = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            applied = self._reloader.applied
            if not self._settings().watch_config:
                self._judged = ""
                await applied.wait()
            elif await self._is_changed(applied):
                await self._reload()

    async def _reload(self) -> None:
        before = await self._content(self._reloader.inputs)
        try:
            await self._reloader.reload(BY)
        except ConflictError as error:  # of a full disk, say; what is wrong with files is told by the reload
            self._bus.publish("config.refused", f"nothing changed: {error.message}", data={"by": BY})
        except OrchestraError:
            pass
        else:
            return
        # They may have been written since they were judged: this is what was refused, and is not once more.
        if await self._content(self._reloader.inputs) == before:
            self._judged = before

    async def _is_changed(self, applied: anyio.Event) -> bool:
        """Return True when the files ask for a reload; False when another set of files is to be watched."""
        found = False

        async def leave_when_applied() -> None:
            await applied.wait()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave_when_applied)
            found = await self._watch()
            tasks.cancel_scope.cancel()
        return found

    async def _watch(self) -> bool:
        inputs = self._reloader.inputs
        async with self._open(inputs) as feed:
            while True:
                self._tell_trouble(feed.error)
                content = await self._content(inputs)
                if content != self._judged:
                    self._judged = content
                    self._seen()
                    if await self._differs():
                        return True
                    if self._reloader.inputs != inputs:
                        return False
                if paths := await feed.wait():
                    await gather(self._clock, feed, paths, self._settings().watch_debounce)

    async def _differs(self) -> bool:
        """Return whether a reload would do anything, if only refuse the files."""
        try:
            return not (await self._reloader.plan()).is_empty
        except OrchestraError:
            return True

    def _tell_trouble(self, error: str) -> None:
        if error and error != self._trouble:
            self._bus.publish("watch.failed", f"the configuration is not watched: {error}")
        elif self._trouble and not error:
            self._bus.publish("watch.recovered", "the configuration is watched again")
        self._trouble = error
