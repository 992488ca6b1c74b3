"""Which paths count: globs and folders, less what is ignored. Source of the pattern rules: gitignore(5)."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from orchestra_supervisor.model.watch import WatchSpec

__all__ = ["ALWAYS_IGNORED", "MAX_COUNTED", "Selection", "nearest_folder"]

ALWAYS_IGNORED = (
    *(".git/", "node_modules/", ".venv/", "__pycache__/", ".orchestra/"),
    *("*~", ".*.sw?", ".#*", "4913", "*.tmp.[0-9]*"),
)
"""What programs and editors write beside what people write."""
MAX_COUNTED = 10_000
"""Files that are counted for status."""
_MAX_RULES = 1024 * 1024  # bytes of a .gitignore; a larger one is passed over
_MAGIC = re.compile(r"[*?\[]")
_SPECIAL = re.compile(r"([\\*?\[\]!# ])")


class _Rules(Protocol):
    """Rules of gitignore(5)."""

    def match_file(self, file: str) -> bool: ...


def nearest_folder(path: str) -> str:
    """Return the path where it is a folder, else the nearest folder above it that is there."""
    while not os.path.isdir(path) and path != os.path.dirname(path):  # noqa: PTH112, PTH120 - plain text, hot
        path = os.path.dirname(path)  # noqa: PTH120
    return path


class Selection:
    """The files that a service is watched for. Its methods read the disk.

    Args:
        cwd: Absolute; what relative patterns start from.
        spec: The patterns.
        private: Absolute folders in which nothing ever counts: logs, the state directory.
    """

    def __init__(self, cwd: str, spec: WatchSpec, private: tuple[str, ...] = ()) -> None:
        self._cwd = os.path.normpath(cwd)
        self._spec = spec
        self._private = tuple(f"{os.path.normpath(folder)}/" for folder in private)
        split = [_split(self._cwd, pattern) for pattern in spec.paths]
        self._bases = {base: self._is_deep(rest) for base, rest in split}
        lines = [_SPECIAL.sub(r"\\\1", base) + (f"/{rest}" if rest else "") for base, rest in split]
        self._wanted = _to_rules(lines)
        self._ignored = _to_rules((*ALWAYS_IGNORED, *spec.ignore))
        self._rules = _to_rules(())
        self.refresh()

    @staticmethod
    def _is_deep(rest: str) -> bool:
        return not rest or "/" in rest or "**" in rest

    def refresh(self) -> None:
        """Read the .gitignore again, where it counts."""
        if self._spec.gitignore:
            self._rules = _to_rules(_lines_of(f"{self._cwd}/.gitignore"))

    def folders(self) -> dict[str, bool]:
        """Return the folders to watch, each with whether all below it is: those that are there now.

        The folder above a base tells when the base is replaced; for a base that is not there yet the
        nearest folder above it tells when it comes.
        """
        found: dict[str, bool] = {}
        for base, is_deep in self._bases.items():
            if os.path.isdir(base):  # noqa: PTH112 - plain text, as the watches have it
                found[base] = found.get(base, False) or is_deep
            above = nearest_folder(os.path.dirname(base))  # noqa: PTH120
            found.setdefault(above, False)
        return found

    def counts(self, path: str) -> bool:
        """Return whether a change of this path (absolute) is one to act on."""
        if path.startswith(self._private) or not self._wanted.match_file(path.lstrip("/")):
            return False
        inside = path.removeprefix(f"{self._cwd}/").lstrip("/")
        return not self._ignored.match_file(inside) and not self._rules.match_file(inside)

    def survey(self) -> tuple[int, int]:
        """Return how many files count, up to MAX_COUNTED, and a number that differs when they do."""
        seen: set[tuple[str, int, int, int]] = set()
        for base, is_deep in self._bases.items():
            for path in _files_of(base, is_deep=is_deep):
                if self.counts(path):
                    with suppress(OSError):
                        status = os.lstat(path)
                        seen.add((path, status.st_ino, status.st_mtime_ns, status.st_size))
                if len(seen) >= MAX_COUNTED:
                    break
        return len(seen), hash(frozenset(seen))

    def shown(self, path: str) -> str:
        """Return a path as people write it: relative where it is in the working directory."""
        return path.removeprefix(f"{self._cwd}/")


def _split(cwd: str, pattern: str) -> tuple[str, str]:
    """Split a pattern into the folder (or file) that it begins with, absolute, and the globs after it."""
    parts = pattern.split("/")
    fixed = next((index for index, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    base = os.path.normpath(os.path.join(cwd, "/".join(parts[:fixed]) or ("/" if pattern[:1] == "/" else "")))  # noqa: PTH118
    return base, "/".join(parts[fixed:])


def _files_of(base: str, *, is_deep: bool) -> Iterator[str]:
    if not os.path.isdir(base):  # noqa: PTH112
        if os.path.isfile(base):  # noqa: PTH113
            yield base
        return
    pruned = {name.rstrip("/") for name in ALWAYS_IGNORED if name.endswith("/")}
    for folder, folders, names in os.walk(
        base
    ):  # links to folders are not followed: they may lead in a circle
        folders[:] = [name for name in folders if name not in pruned] if is_deep else []
        yield from (f"{folder}/{name}" for name in names)


def _to_rules(lines: Iterable[str]) -> _Rules:
    # 0.4 MB that a fleet without patterns of files does not pay.
    from pathspec import GitIgnoreSpec  # noqa: PLC0415

    return GitIgnoreSpec.from_lines(lines)


def _lines_of(path: str) -> list[str]:
    with suppress(OSError):
        text = Path(path).read_bytes()[: _MAX_RULES + 1].decode("utf-8", "surrogateescape")
        if len(text) <= _MAX_RULES:
            return [line for line in text.splitlines() if _is_pattern(line)]
    return []


def _is_pattern(line: str) -> bool:
    try:
        _to_rules([line])
    except ValueError:  # one line that is no pattern must not cost the rest
        return False
    return True
