"""Rotated segments that take more room than they may: the oldest go first.

A log may have a limit of its own, and its directory one for all logs together. What is being written
is counted and never removed. Looked at after each rotation and packing, so that in between the total
may exceed its limit by what has been written since.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from orchestra_supervisor.logfile.index import INDEX_SUFFIX
from orchestra_supervisor.logfile.segments import split_name
from orchestra_supervisor.logger.options import Rotation
from orchestra_supervisor.logger.timers import Timers

__all__ = ["CHECK_DELAY", "Retention"]

CHECK_DELAY = 0.2
"""Seconds between what may have made it too much and the look at it: a burst is one look."""


@dataclass(slots=True)
class _Segment:
    """A rotated segment: when it was rotated, and the files that are of it."""

    stamp: str
    size: int = 0
    paths: list[str] = field(default_factory=list[str])


class Retention:
    """Keeps the logs that are open, and their directories, within their limits.

    Args:
        timers: For the looks.
        is_packing: Whether segments wait to be packed: then sizes are about to change.
        event: Tells the keeper: kind and the keys it carries.
    """

    def __init__(
        self,
        timers: Timers,
        is_packing: Callable[[], bool],
        event: Callable[[str, dict[str, object]], None],
    ) -> None:
        self._timers = timers
        self._is_packing = is_packing
        self._event = event
        self._limits: dict[str, int] = {}
        self._directory_limits: dict[str, int] = {}
        self._is_planned = False

    def limit(self, path: str, rotation: Rotation) -> None:
        """Take note of what a log and its directory may hold."""
        directory = os.path.dirname(path)
        for limits, key, limit in (
            (self._limits, path, rotation.keep_bytes),
            (self._directory_limits, directory, rotation.directory_keep_bytes),
        ):
            if limit:
                limits[key] = limit
            else:
                limits.pop(key, None)
        self.look()

    def forget(self, path: str) -> None:
        """Take note that a log is not written any more; its directory's limit goes on to count it."""
        self._limits.pop(path, None)

    def look(self) -> None:
        """Something has grown or been packed: look soon."""
        if (self._limits or self._directory_limits) and not self._is_planned:
            self._is_planned = True
            self._timers.after(CHECK_DELAY, self._check)

    def _check(self) -> None:
        self._is_planned = False
        if self._is_packing():
            return  # its end asks again
        logs: dict[str, list[str]] = {directory: [] for directory in self._directory_limits}
        for path in self._limits:
            logs.setdefault(os.path.dirname(path), []).append(path)
        for directory, paths in logs.items():
            with suppress(OSError):  # unreadable for now: looked at again after the next rotation
                self._check_directory(directory, paths)

    def _check_directory(self, directory: str, paths: list[str]) -> None:
        """Look at a directory, and at those of its logs that have limits of their own."""
        live, segments = _survey(directory)
        for path in paths:
            name = os.path.basename(path)
            own = segments.get(name, [])
            segments[name] = self._remove(path, "log.keep_bytes", self._limits[path], live.get(name, 0), own)
        limit = self._directory_limits.get(directory, 0)
        if limit:
            every = [each for own in segments.values() for each in own]
            self._remove(directory, "settings.log_keep_bytes", limit, sum(live.values()), every)

    def _remove(self, path: str, key: str, limit: int, live: int, segments: list[_Segment]) -> list[_Segment]:
        """Remove the oldest segments until all is within the limit; return those that stay."""
        total = live + sum(each.size for each in segments)
        gone: list[_Segment] = []
        stay: list[_Segment] = []
        for segment in sorted(segments, key=lambda each: each.stamp):
            if total > limit and _unlink(segment.paths):
                gone.append(segment)
                total -= segment.size
            else:
                stay.append(segment)
        if gone:
            size = sum(each.size for each in gone)
            facts = {"path": path, "segments": len(gone), "bytes": size, "limit": limit, "reason": key}
            self._event("removed", dict(facts))
        return stay


def _survey(directory: str) -> tuple[dict[str, int], dict[str, list[_Segment]]]:
    """Return the bytes of what is being written, and the rotated segments, both by log.

    Raises:
        OSError: The directory cannot be read.
    """
    sizes: dict[str, int] = {}
    segments: dict[str, dict[str, _Segment]] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # rotated, packed or removed meanwhile
            parts = split_name(entry.name)
            if parts is None:
                sizes[entry.name] = status.st_size
                continue
            log, stamp, _ = parts
            segment = segments.setdefault(log, {}).setdefault(stamp, _Segment(stamp))
            segment.size += status.st_size
            segment.paths.append(entry.path)
    # A file with an index beside it is a log; whatever else lies there is not ours to count.
    live = {name: sizes[name] + sizes[name + INDEX_SUFFIX] for name in sizes if name + INDEX_SUFFIX in sizes}
    return live, {log: list(own.values()) for log, own in segments.items()}


def _unlink(paths: list[str]) -> bool:
    """Remove the files of a segment, its index last; return whether nothing of it is left."""
    for path in sorted(paths, key=lambda each: each.endswith(INDEX_SUFFIX)):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
