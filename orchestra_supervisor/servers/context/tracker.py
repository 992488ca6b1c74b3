"""The task that keeps the index true: first scan, then looks where hints point, now and then everywhere."""

import asyncio
import os
import time

from anyio import Event, move_on_after, sleep, to_thread

from orchestra_supervisor.servers.context.feed import Feed
from orchestra_supervisor.servers.context.index import MAX_FILES, Index, Look
from orchestra_supervisor.servers.context.watch import Hints, Watcher, pieces_of

__all__ = ["Tracker"]

_GATHER = 0.05  # seconds that hints are gathered before a look, so that a rename is seen from both ends
_RESCAN_LEAST = 60.0  # seconds between looks at everything: events can be lost (full queues, network disks)
_RESCAN_UNWATCHED = 5.0  # the same where the tree cannot be watched
_RESCAN_SHARE = 50  # a look at everything takes at most one part in so many of the time


class Tracker:
    """Index, feed and watcher of one tree.

    Args:
        root: Absolute path, symbolic links resolved.
        limit: Most files.

    Attributes:
        index: The files.
        feed: The changes.
        is_ready: The first scan is done.
        scan_seconds: How long the last look at everything took.
    """

    def __init__(self, root: str, limit: int = MAX_FILES) -> None:
        self.index = Index(root, limit)
        self.feed = Feed()
        self.is_ready = False
        self.scan_seconds = 0.0
        self._problem = ""
        self._directories: set[str] = set()
        self._mixed: set[str] = set()

    @property
    def problem(self) -> str:
        """Why not all changes are seen at once, or empty."""
        return self._problem

    @property
    def is_root_there(self) -> bool:
        """Whether the tree still exists."""
        return os.path.isdir(self.index.root)  # noqa: PTH112 - as everywhere in this package

    async def run(self) -> None:
        """Scan, then follow, until cancelled."""
        loop = asyncio.get_running_loop()
        wake = Event()

        def set_wake() -> None:
            wake.set()  # the event of that moment: each is good for one waiting

        def wake_up() -> None:
            loop.call_soon_threadsafe(set_wake)

        hints = Hints(self.index.root, wake_up)
        await self._look({""}, publish=False)
        watcher = await to_thread.run_sync(Watcher, self.index.root, hints)
        try:
            await self._cover(watcher, hints)
            self.is_ready = True
            hints.add("")  # what changed between the scan and the watching
            while True:
                with move_on_after(self._pause()) as pause:
                    await wake.wait()
                    await sleep(_GATHER)
                wake = Event()
                paths = hints.take()
                if pause.cancelled_caught:
                    paths = {""}
                if await self._look(paths, publish=True):
                    await self._cover(watcher, hints)
        finally:
            with move_on_after(5, shield=True):
                await to_thread.run_sync(watcher.close)

    def _pause(self) -> float:
        if self._problem:
            return max(_RESCAN_UNWATCHED, self.scan_seconds * _RESCAN_SHARE)
        return max(_RESCAN_LEAST, self.scan_seconds * _RESCAN_SHARE)

    async def _look(self, paths: set[str], *, publish: bool) -> bool:
        """Look at paths and tell what changed; return whether there may be other directories now."""
        began = time.monotonic()
        look = await to_thread.run_sync(self.index.look, paths)
        changes = self.index.apply(look)
        if publish:
            self.feed.publish(changes)
        if "" in look.areas:
            self.scan_seconds = time.monotonic() - began
        return self._take_directories(look)

    def _take_directories(self, look: Look) -> bool:
        before = (len(self._directories), len(self._mixed))
        if "" in look.areas:
            same = self._directories == look.directories and self._mixed == look.mixed
            self._directories, self._mixed = look.directories, look.mixed
            return not same
        self._directories |= look.directories
        self._mixed |= look.mixed
        return before != (len(self._directories), len(self._mixed))

    async def _cover(self, watcher: Watcher, hints: Hints) -> None:
        pieces = pieces_of(self._directories, self._mixed)
        added = await to_thread.run_sync(watcher.cover, pieces)
        self._problem = watcher.problem
        if self.is_ready:
            for path in added:  # what happened there before it was watched
                hints.add(path)
