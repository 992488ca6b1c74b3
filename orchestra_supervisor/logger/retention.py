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
    """A rotated segment: which log's, when it was rotated, and the files that are of it."""

    log: str
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
        directories = {os.path.dirname(path) for path in self._limits} | set(self._directory_limits)
        for directory in directories:
            with suppress(OSError):  # unreadable for now: looked at again after the next rotation
                self._check_directory(directory)

    def _check_directory(self, directory: str) -> None:
        live, segments = _survey(directory)
        for path, limit in self._limits.items():
            if os.path.dirname(path) == directory:
                name = os.path.basename(path)
                own = [each for each in segments if each.log == name]
                gone = self._remove(path, "log.keep_bytes", limit, live.get(name, 0), own)
                segments = [each for each in segments if each not in gone]
        limit = self._directory_limits.get(directory, 0)
        if limit:
            self._remove(directory, "settings.log_keep_bytes", limit, sum(live.values()), segments)

    def _remove(self, path: str, key: str, limit: int, live: int, segments: list[_Segment]) -> list[_Segment]:
        """Remove the oldest segments until all is within the limit; return those that are gone."""
        total = live + sum(each.size for each in segments)
        gone: list[_Segment] = []
        for segment in sorted(segments, key=lambda each: each.stamp):
            if total <= limit:
                break
            if _unlink(segment.paths):
                gone.append(segment)
                total -= segment.size
        if gone:
            size = sum(each.size for each in gone)
            facts = {"path": path, "segments": len(gone), "bytes": size, "limit": limit, "reason": key}
            self._event("removed", dict(facts))
        return gone


def _survey(directory: str) -> tuple[dict[str, int], list[_Segment]]:
    """Return the bytes of what is being written, by log, and the rotated segments.

    Raises:
        OSError: The directory cannot be read.
    """
    sizes: dict[str, int] = {}
    segments: dict[tuple[str, str], _Segment] = {}
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
            segment = segments.setdefault((log, stamp), _Segment(log, stamp))
            segment.size += status.st_size
            segment.paths.append(entry.path)
    # A file with an index beside it is a log; whatever else lies there is not ours to count.
    live = {name: sizes[name] + sizes[name + INDEX_SUFFIX] for name in sizes if name + INDEX_SUFFIX in sizes}
    return live, list(segments.values())


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
