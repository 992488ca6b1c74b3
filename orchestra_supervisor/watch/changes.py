"""Changes of files as they come: hints of the file system, looked at in a thread, awaited by a task."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import current_token

from orchestra_supervisor.watch.hints import Hints, Source

__all__ = ["RETRY", "Changes", "Selects", "watching"]

RETRY = 60.0
"""Seconds after which folders that cannot be watched are tried again."""
_GATHER = 0.02  # seconds in which hints come together before they are looked at
_LAST = 10.0  # seconds that the observer gets to let go


class Selects(Protocol):
    """Which paths count; `patterns.Selection` documents the methods."""

    def refresh(self) -> None: ...  # noqa: D102
    def folders(self) -> dict[str, bool]: ...  # noqa: D102
    def counts(self, path: str) -> bool: ...  # noqa: D102
    def survey(self) -> tuple[int, int]: ...  # noqa: D102
    def shown(self, path: str) -> str: ...  # noqa: D102


class Changes:
    """The changes of one selection.

    Attributes:
        error: Why not all of it is watched, or empty.
        files: How many files there are that count.
    """

    def __init__(
        self, watcher: Source, select: Callable[[], Selects], limiter: anyio.CapacityLimiter
    ) -> None:
        self.error = ""
        self.files = 0
        self._watcher = watcher
        self._select = select
        self._selection: Selects | None = None
        self._limiter = limiter
        self._stamp = 0
        self._has_begun = False
        self._woken = anyio.Event()
        self._token = current_token()
        self._hints = Hints(self._wake)

    def _wake(self) -> None:
        """Wake the waiting task; called in an observing thread."""
        with suppress(RuntimeError):  # the event loop has ended
            from_thread.run_sync(self._set, token=self._token)

    def _set(self) -> None:
        self._woken.set()

    async def begin(self) -> None:
        """Begin to watch."""
        await to_thread.run_sync(self._look, limiter=self._limiter)

    async def wait(self) -> tuple[str, ...]:
        """Wait until files that count have changed, or whether all are watched has.

        Returns:
            The paths as people write them; one empty path where it is not known which; none where only
            `error` has changed.
        """
        while True:
            error = self.error
            with anyio.move_on_after(RETRY if error else float("inf")):
                await self._woken.wait()
                await anyio.sleep(_GATHER)
            self._woken = anyio.Event()
            found = await to_thread.run_sync(self._look, limiter=self._limiter)
            if found or error != self.error:
                return found

    def end(self) -> None:
        """Watch no more. Blocks."""
        self._watcher.forget(self._hints)

    def _look(self) -> tuple[str, ...]:
        """Look at what the hints say, and watch what is to be watched now."""
        paths, has_overflowed = self._hints.take()
        selection = self._selection = self._selection or self._select()
        selection.refresh()
        has_new, self.error = self._watcher.cover(self._hints, selection.folders())
        found = tuple(sorted(selection.shown(path) for path in paths if selection.counts(path)))
        if found or has_new or has_overflowed or not self._has_begun:
            before = self._stamp
            self.files, self._stamp = selection.survey()
            # A folder may have come or gone with all that is in it, and said nothing of that.
            if self._has_begun and not found and before != self._stamp:
                return ("",)
        self._has_begun = True
        return found


@asynccontextmanager
async def watching(
    watcher: Source, select: Callable[[], Selects], limiter: anyio.CapacityLimiter
) -> AsyncGenerator[Changes]:
    """Watch a selection, which is made in a thread, for the time of the block."""
    changes = Changes(watcher, select, limiter)
    try:
        await changes.begin()
        yield changes
    finally:
        with anyio.move_on_after(_LAST, shield=True):
            await to_thread.run_sync(changes.end)
