"""Hints of the file system where something may have changed.

The kernel's watches are a scarce thing, and an ignored directory (node_modules) may hold most of a tree. So
the tree is covered piece by piece: a directory with nothing ignored below it is watched with all below it,
one with something ignored is watched alone and its other directories by themselves. Where that takes too
many pieces the whole tree is watched at once. What a hint says is never trusted: see `index`.
"""

import os
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from orchestra_supervisor.servers.context.ignore import ALWAYS_IGNORED

__all__ = ["MAX_HINTS", "MAX_PIECES", "Hints", "Watcher", "pieces_of"]

MAX_PIECES = 64
"""Pieces that a tree is watched in; each costs a thread."""
MAX_HINTS = 2000
"""Paths that wait to be looked at; more than that become one look at everything."""

_WATCHED: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


def pieces_of(directories: AbstractSet[str], mixed: AbstractSet[str]) -> dict[str, bool]:
    """Return what to watch: relative directory to whether with all below it.

    Args:
        directories: All directories that count.
        mixed: Those with an ignored directory somewhere below.
    """
    if "" not in mixed:
        return {"": True}
    pieces = {path: False for path in mixed if path in directories}
    for path in directories - mixed:
        if path.rpartition("/")[0] in mixed:
            pieces[path] = True
    return pieces if len(pieces) <= MAX_PIECES else {"": True}


class Hints(FileSystemEventHandler):
    """Collects relative paths from the watching threads; `wake` is called when the first one waits.

    Args:
        root: Absolute path of the tree.
        wake: Called in a watching thread.
    """

    def __init__(self, root: str, wake: Callable[[], None]) -> None:
        self._prefix = f"{root.rstrip('/')}/"
        self._wake = wake
        self._lock = threading.Lock()
        self._paths: set[str] = set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take one event of the file system."""
        for path in (os.fsdecode(event.src_path), os.fsdecode(event.dest_path)):
            if path.startswith(self._prefix):
                self.add(path[len(self._prefix) :])

    def add(self, path: str) -> None:
        """Take a relative path (`""`: everything)."""
        segments = path.split("/")
        if not ALWAYS_IGNORED.isdisjoint(segments):
            return
        if segments[-1] == ".gitignore":  # what counts in its directory may be another thing now
            path = path.rpartition("/")[0]
        with self._lock:
            was_empty = not self._paths
            self._paths.add(path)
            if len(self._paths) > MAX_HINTS:
                self._paths = {""}
        if was_empty:
            self._wake()

    def take(self) -> set[str]:
        """Return the paths that wait, which then wait no more."""
        with self._lock:
            taken, self._paths = self._paths, set()
        return taken


class Watcher:
    """Watches a tree in pieces; its methods block and are for one thread at a time.

    Attributes:
        problem: Why not all of the tree is watched, or empty.
    """

    def __init__(self, root: str, hints: Hints) -> None:
        self.problem = ""
        self._root = root
        self._hints = hints
        self._observer = Observer()
        self._watches: dict[tuple[str, bool], ObservedWatch] = {}
        try:
            self._observer.start()
        except OSError as error:
            self.problem = f"the tree cannot be watched: {error}"

    def cover(self, pieces: dict[str, bool]) -> set[str]:
        """Watch these pieces and no others; return those that were not watched before."""
        wanted = set(pieces.items())
        for piece in self._watches.keys() - wanted:
            with suppress(KeyError, OSError):
                self._observer.unschedule(self._watches.pop(piece))
        added: set[str] = set()
        self.problem = ""
        for path, is_recursive in sorted(wanted - self._watches.keys()):
            full = f"{self._root}/{path}" if path else self._root
            try:
                watch = self._observer.schedule(
                    self._hints, full, recursive=is_recursive, event_filter=_WATCHED
                )
            except FileNotFoundError:
                continue  # it went away meanwhile: a hint of its parent's says so
            except OSError as error:
                self.problem = f"{full} cannot be watched: {error}"
                continue
            self._watches[path, is_recursive] = watch
            added.add(path)
        return added

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(5)
