"""Paths where something may have changed, on their way from the observing threads to a task."""

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["MAX_HINTS", "Hints", "Source"]

MAX_HINTS = 2000
"""Paths that wait to be looked at; more than that become one hint that anything may have changed."""


class Hints:
    """Collects paths from the observing threads.

    Args:
        wake: Called in an observing thread when the first path waits.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._has_overflowed = False

    def add(self, path: str) -> None:
        """Take a path."""
        with self._lock:
            is_first = not self._paths and not self._has_overflowed
            if len(self._paths) < MAX_HINTS:
                self._paths.add(path)
            else:
                self._has_overflowed = True
        if is_first:
            self._wake()

    def take(self) -> tuple[frozenset[str], bool]:
        """Return the paths that wait, and whether there were more; they wait no longer."""
        with self._lock:
            taken, self._paths = frozenset(self._paths), set()
            has_overflowed, self._has_overflowed = self._has_overflowed, False
        return taken, has_overflowed


class Source(Protocol):
    """Who gives hints; `observer.Watcher` documents the methods."""

    def cover(self, owner: Hints, folders: Mapping[str, bool]) -> tuple[bool, str]: ...  # noqa: D102
    def forget(self, owner: Hints) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
