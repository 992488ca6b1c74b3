"""The rotated segments of one log: the next name, which are packed, which are deleted."""

import os
from contextlib import suppress

from orchestra_supervisor.logfile.index import INDEX_SUFFIX
from orchestra_supervisor.logfile.segments import GZIP_SUFFIX, TEMP_SUFFIX, segment_id_of, stamp_of
from orchestra_supervisor.logger.packer import Packer

__all__ = ["Archive"]

_KINDS = ("", GZIP_SUFFIX, TEMP_SUFFIX, INDEX_SUFFIX)


class Archive:
    """Keeps the rotated segments of one log in order.

    Args:
        path: The log.
        leavings: What is there: stamp to kinds of files, from the listing of the directory.
        packer: Packs segments.
    """

    def __init__(self, path: str, leavings: dict[str, set[str]], packer: Packer) -> None:
        self._path = path
        self._packer = packer
        self.leavings = leavings

    def newest(self) -> str:
        """Return the path of the newest segment, empty when there is none."""
        return f"{self._path}.{max(self.leavings)}" if self.leavings else ""

    def newest_id(self) -> int:
        """Return the segment id of the newest segment, 0 when there is none."""
        newest = self.newest()
        return (segment_id_of(newest) or 0) if newest else 0

    def next_path(self, time_ns: int) -> str:
        """Return the path for a segment that is rotated now, after all others in order."""
        try:
            stamp = stamp_of(time_ns, max(self.leavings, default=""))
        except (ValueError, OverflowError):  # a file of a foreign hand with a stamp that is no date
            stamp = stamp_of(time_ns)
        return f"{self._path}.{stamp}"

    def add(self, path: str) -> None:
        """Take note of a segment that has been rotated."""
        self.leavings[path[len(self._path) + 1 :]] = {"", INDEX_SUFFIX}

    def tidy(self, *, backups: int, compress: bool) -> None:
        """Delete the oldest segments and what is left of half-deleted ones; have the others packed.

        Never raises: what cannot be deleted now is tried again after the next rotation.

        Args:
            backups: So many segments stay.
            compress: Pack them.
        """
        stamps = sorted(self.leavings)
        whole = [stamp for stamp in stamps if not self.leavings[stamp].isdisjoint({"", GZIP_SUFFIX})]
        keep = set(whole[len(whole) - backups :] if backups < len(whole) else whole)
        for stamp in stamps:
            path = f"{self._path}.{stamp}"
            if stamp not in keep:
                self._delete(path, stamp)
            elif compress and "" in self.leavings[stamp] and os.path.exists(path):
                self._packer.add(path)
            elif TEMP_SUFFIX in self.leavings[stamp] and not os.path.exists(path):
                with suppress(OSError):
                    os.unlink(path + TEMP_SUFFIX)

    def _delete(self, path: str, stamp: str) -> None:
        self._packer.forget(path)
        with suppress(OSError):
            for kind in _KINDS:
                with suppress(FileNotFoundError):
                    os.unlink(path + kind)
            del self.leavings[stamp]
