"""Which paths of a tree do not count: .gitignore files, nested ones too, and directories that never do.

The rules are git's: of all patterns that fit a path the last one of the deepest file decides, and what lies
in an ignored directory is ignored whatever a pattern says. So every directory on the way is judged first, and
of an entry only those patterns speak that fit itself, not what it lies in: that is decided here, as pathspec
judges a whole path at once. The files in force in a directory are put together into one list, each pattern
rewritten as if it stood in the topmost file. Source: gitignore(5).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pathspec import GitIgnoreSpec

__all__ = ["ALWAYS_IGNORED", "IgnoreRules", "rebased"]

ALWAYS_IGNORED = frozenset({".git", "node_modules", ".venv", ".orchestra"})
"""Names of files and directories that are ignored wherever they stand."""

_MAX_RULES = 1024 * 1024  # bytes of one .gitignore; a larger one is passed over
_SPECIAL = re.compile(r"([\\*?\[\]!# ])")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One line: what it fits, whole, and whether that is ignored."""

    fits: re.Pattern[str]
    ignores: bool


class IgnoreRules:
    """The rules in force in one directory; made by `of_root` and `below`.

    Args:
        base: Absolute path of the topmost directory whose rules count.
        patterns: All patterns in force, as if they stood in the base, the one that counts most first.
        is_ignored_itself: Whether the directory is ignored: then all in it is.
    """

    __slots__ = ("_base", "_is_ignored_itself", "_patterns")

    def __init__(
        self, base: str, patterns: tuple[_Pattern, ...] = (), *, is_ignored_itself: bool = False
    ) -> None:
        self._base = base
        self._patterns = patterns
        self._is_ignored_itself = is_ignored_itself

    def below(self, directory: str) -> "IgnoreRules":
        """Return the rules in force in a directory of this one (absolute path)."""
        own = [] if self._is_ignored_itself else _read(f"{directory}/.gitignore")
        return self._with(rebased(own, directory[len(self._base) + 1 :])) if own else self

    def is_ignored(self, path: str, name: str, *, is_directory: bool) -> bool:
        """Return whether an entry of this directory does not count.

        Args:
            path: Absolute path of the entry.
            name: Its last segment.
            is_directory: Whether it is a directory (a link to one is none).
        """
        if name in ALWAYS_IGNORED:
            return True
        return self.is_ignored_by_pattern(path, is_directory=is_directory)

    @classmethod
    def of_root(cls, root: str) -> "IgnoreRules":
        """Return the rules of a tree's top: those of the repository it lies in count, too."""
        above = (Path(root), *Path(root).parents)
        top = next((directory for directory in above if (directory / ".git").exists()), above[0])
        directory = str(top)
        rules = cls(directory)
        rules = rules._with(rebased(_read(f"{top}/.git/info/exclude"), ""))
        rules = rules.below(directory)
        for name in Path(root).relative_to(top).parts:
            directory = f"{directory}/{name}"
            if rules.is_ignored_by_pattern(directory, is_directory=True):
                return cls(str(top), is_ignored_itself=True)
            rules = rules.below(directory)
        return rules

    def is_ignored_by_pattern(self, path: str, *, is_directory: bool) -> bool:
        """Return whether a pattern says that an entry of this directory does not count, whatever its name."""
        if self._is_ignored_itself:
            return True
        relative = path[len(self._base) + 1 :]
        asked = f"{relative}/" if is_directory else relative
        return next((one.ignores for one in self._patterns if one.fits.search(asked)), False)

    def _with(self, lines: Iterable[str]) -> "IgnoreRules":
        found = tuple(pattern for line in lines if (pattern := _pattern(line)) is not None)
        return IgnoreRules(self._base, (*reversed(found), *self._patterns))


def rebased(lines: Iterable[str], prefix: str) -> list[str]:
    """Rewrite the lines of a .gitignore in directory `prefix` as patterns of the directory above them all.

    Comments, blank lines and what is no pattern are left out.
    """
    escaped = _SPECIAL.sub(r"\\\1", prefix)
    patterns: list[str] = []
    for line in lines:
        body = line if line.endswith("\\ ") else line.rstrip(" ")
        sign = "!" if body.startswith("!") else ""
        body = body[len(sign) :]
        if (body.startswith("#") and not sign) or not body.strip("/"):
            continue
        if body.rstrip("/") == "**":
            body = body.replace("**", "*")
        if body.endswith(("/**", "/**/")):  # what lies below, and not the directory itself as for pathspec
            body = f"{body.rstrip('/')}/*{'/' if body.endswith('/') else ''}"
        if prefix:
            is_anchored = "/" in body[:-1]
            body = f"/{escaped}/{body.removeprefix('/')}" if is_anchored else f"/{escaped}/**/{body}"
        patterns.append(sign + body)
    return patterns


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:  # noqa: PTH123 - hot: every directory is asked
            text = file.read(_MAX_RULES + 1)
    except OSError:
        return []
    return [] if len(text) > _MAX_RULES else [line.removesuffix("\r") for line in text.split("\n")]


def _pattern(line: str) -> _Pattern | None:
    """Return a line's pattern; None where it is none: that must not cost the rest."""
    try:
        (made,) = GitIgnoreSpec.from_lines([line]).patterns
    except ValueError:
        return None
    regex = cast("re.Pattern[str] | None", made.regex)  # pyright: ignore[reportUnknownMemberType]  # of text
    if regex is None or made.include is None:
        return None
    # Up to the end: after a directory pathspec leaves open what follows.
    return _Pattern(re.compile(rf"(?:{regex.pattern})\Z", regex.flags), ignores=made.include)
