"""Files that are watched by name, wherever links lead, and globs of files."""

import hashlib
import os
from pathlib import Path

from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.watch.patterns import Selection, nearest_folder

__all__ = ["ExactFiles"]

_MOST_LINKS = 40  # that one path leads over, as for the kernel
_MOST_BYTES = 8 * 1024 * 1024  # of one file that are looked at, as many as the configuration reads


class ExactFiles:
    """Named files, there or not yet. Its methods read the disk.

    Folders are watched, not files: an editor puts a new file in the place of the old one. Of a path that
    leads over links every link is looked at, since a whole folder may be replaced by turning one.

    Args:
        files: Absolute.
        globs: Absolute patterns.
    """

    def __init__(self, files: tuple[str, ...], globs: tuple[str, ...] = ()) -> None:
        self._files = tuple(sorted(set(files)))
        self._globs = [Selection("/", WatchSpec(paths=(glob,))) for glob in sorted(set(globs))]
        self._steps: frozenset[str] = frozenset()
        self.refresh()

    def refresh(self) -> None:
        """Look anew where the links lead."""
        self._steps = frozenset(step for file in self._files for step in _steps_of(file))

    def folders(self) -> dict[str, bool]:
        """Return the folders to watch, each with whether all below it is."""
        found = {nearest_folder(os.path.dirname(step)): False for step in self._steps}  # noqa: PTH120 - plain text
        for glob in self._globs:
            for folder, is_deep in glob.folders().items():
                found[folder] = found.get(folder, False) or is_deep
        return found

    def counts(self, path: str) -> bool:
        """Return whether a change of this path (absolute) may be one of the files."""
        return path in self._steps or any(glob.counts(path) for glob in self._globs)

    def survey(self) -> tuple[int, int]:
        """Return how many of the files are there, and a number that differs when what they hold does."""
        there = [file for file in self._files if os.path.exists(file)]  # noqa: PTH110 - plain text
        stamps = tuple(glob.survey() for glob in self._globs)
        return len(there) + sum(count for count, _ in stamps), hash((self.content(), stamps))

    def content(self) -> str:
        """Return a digest of what the named files hold."""
        digest = hashlib.sha256()
        for file in self._files:
            try:
                data = _read(file)
            except (OSError, ValueError) as error:
                data = type(error).__name__.encode()
            digest.update(hashlib.sha256(file.encode("utf-8", "surrogateescape") + b"\0" + data).digest())
        return digest.hexdigest()

    def shown(self, path: str) -> str:
        """Return a path as people write it."""
        return path


def _read(file: str) -> bytes:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def _steps_of(file: str) -> set[str]:
    """Return the path, and every link on the way to what it stands for with where that leads."""
    steps = {file}
    todo, count = [file], 0
    while todo and count < _MOST_LINKS:
        path = Path(todo.pop())
        for part in (*reversed(path.parents), path):
            if not part.is_symlink():
                continue
            count += 1
            target = os.path.normpath(part.parent / os.readlink(part))  # noqa: PTH115 - text, not a Path
            rest = str(path)[len(str(part)) :]
            steps |= {str(part), f"{target}{rest}"}
            todo.append(f"{target}{rest}")
            break
    return steps
