"""One observer of the file system for all who watch: who gets hints of which folders.

The kernel's watches are scarce, so folders that several watch are watched once. What a hint says is never
trusted: it is a path where something may have changed.
"""

import os
import threading
from collections.abc import Mapping
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

from orchestra_supervisor.watch.hints import Hints

__all__ = ["Watcher"]

_JOIN = 5.0  # seconds that the observing threads get to end

_KINDS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]
_Stamp = tuple[int, int]


class _Handler(FileSystemEventHandler):
    """Makes hints of what the observing threads see."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take one event of the file system."""
        for path in (os.fsdecode(event.src_path), os.fsdecode(event.dest_path)):
            if path:
                self._hints.add(path)


class Watcher:
    """Watches folders for several owners. Its methods block, and may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observer = Observer()
        self._is_running = False
        self._watches: dict[Hints, dict[ObservedWatch, _Stamp]] = {}
        self._handlers: dict[Hints, _Handler] = {}

    def cover(self, owner: Hints, folders: Mapping[str, bool]) -> tuple[bool, str]:
        """Let an owner have hints of these folders and of no others.

        Args:
            owner: Gets the hints.
            folders: Absolute, each with whether all below it counts as well.

        Returns:
            Whether any folder was not watched before, or is another one now; and why one of them
            cannot be watched, or an empty text.
        """
        with self._lock:
            if problem := self._start():
                return False, problem
            mine = self._watches.setdefault(owner, {})
            handler = self._handlers.setdefault(owner, _Handler(owner))
            wanted = {_watch(path, is_deep=is_deep): path for path, is_deep in folders.items()}
            for watch in mine.keys() - wanted.keys():
                self._drop(owner, watch)
            has_new = False
            for watch, path in wanted.items():
                stamp = _stamp_of(path)
                if stamp is None:
                    continue  # it went away meanwhile: a hint of the folder above says so
                if mine.get(watch) == stamp and self._is_alive(watch):
                    self._observer.add_handler_for_watch(handler, watch)
                    continue
                try:
                    self._schedule(owner, watch, path)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    return has_new, f"{path} cannot be watched: {error.strerror or error}"
                mine[watch] = stamp
                has_new = True
            return has_new, ""

    def forget(self, owner: Hints) -> None:
        """Let an owner have no more hints."""
        with self._lock:
            for watch in list(self._watches.get(owner, {})):
                self._drop(owner, watch)
            self._watches.pop(owner, None)
            self._handlers.pop(owner, None)

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            if self._is_running:
                self._observer.stop()
        if self._is_running and self._observer.is_alive():
            self._observer.join(_JOIN)

    def _start(self) -> str:
        if not self._is_running:
            try:
                self._observer.start()
            except (OSError, RuntimeError) as error:  # RuntimeError: no more threads
                self._observer = Observer()
                return f"files cannot be watched: {error}"
            self._is_running = True
        return ""

    def _schedule(self, owner: Hints, watch: ObservedWatch, path: str) -> None:
        others = [one for one, watches in self._watches.items() if watch in watches and one is not owner]
        with suppress(KeyError):  # it stands for a folder that is no more
            self._observer.unschedule(watch)
        self._observer.schedule(
            self._handlers[owner], path, recursive=watch.is_recursive, event_filter=_KINDS
        )
        for other in others:
            self._observer.add_handler_for_watch(self._handlers[other], watch)

    def _is_alive(self, watch: ObservedWatch) -> bool:
        emitters = (one for one in self._observer.emitters if one.watch == watch)
        return any(one.should_keep_running() for one in emitters)

    def _drop(self, owner: Hints, watch: ObservedWatch) -> None:
        self._watches[owner].pop(watch, None)
        with suppress(KeyError, OSError):
            if any(watch in watches for watches in self._watches.values()):
                self._observer.remove_handler_for_watch(self._handlers[owner], watch)
            else:
                self._observer.unschedule(watch)


def _watch(path: str, *, is_deep: bool) -> ObservedWatch:
    return ObservedWatch(path, recursive=is_deep, event_filter=_KINDS)


def _stamp_of(path: str) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - plain text
    except OSError:
        return None
    return status.st_dev, status.st_ino
