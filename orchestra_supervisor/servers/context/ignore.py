"""Which paths of a tree do not count: .gitignore files, nested ones too, and directories that never do.

The rules are git's: of all patterns that fit a path the last one of the deepest file decides, and what lies
in an ignored directory is ignored whatever a pattern says. A pattern for directories does not speak of what
is in them, so the files cannot be judged one by one: those in force in a directory are put together into one
list, each pattern rewritten as if it stood in the topmost file. Source: gitignore(5).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from pathspec import GitIgnoreSpec

__all__ = ["ALWAYS_IGNORED", "IgnoreRules", "rebased"]

ALWAYS_IGNORED = frozenset({".git", "node_modules", ".venv", ".orchestra"})
"""Names of files and directories that are ignored wherever they stand."""

_MAX_RULES = 1024 * 1024  # bytes of one .gitignore; a larger one is passed over
_SPECIAL = re.compile(r"([\\*?\[\]!# ])")


class IgnoreRules:
    """The rules in force in one directory; made by `of_root` and `below`.

    Args:
        base: Absolute path of the topmost directory whose rules count.
        lines: All patterns in force, as if they stood in the base.
        spec: The same, compiled.
    """

    __slots__ = ("_base", "_lines", "_spec")

    def __init__(self, base: str, lines: tuple[str, ...], spec: GitIgnoreSpec) -> None:
        self._base = base
        self._lines = lines
        self._spec = spec

    def below(self, directory: str) -> "IgnoreRules":
        """Return the rules in force in a directory of this one (absolute path)."""
        own = _read(f"{directory}/.gitignore")
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
        relative = path[len(self._base) + 1 :]
        return self._spec.match_file(f"{relative}/" if is_directory else relative)

    @classmethod
    def of_root(cls, root: str) -> "IgnoreRules":
        """Return the rules of a tree's top: those of the repository it lies in count, too."""
        above = (Path(root), *Path(root).parents)
        top = next((directory for directory in above if (directory / ".git").exists()), above[0])
        rules = cls(str(top), (), GitIgnoreSpec.from_lines(()))
        rules = rules._with(rebased(_read(f"{top}/.git/info/exclude"), ""))
        directory = str(top)
        rules = rules.below(directory)
        for name in Path(root).relative_to(top).parts:
            directory = f"{directory}/{name}"
            rules = rules.below(directory)
        return rules

    def _with(self, lines: Iterable[str]) -> "IgnoreRules":
        together = (*self._lines, *lines)
        return IgnoreRules(self._base, together, GitIgnoreSpec.from_lines(together))


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
        if _is_pattern(sign + body):
            patterns.append(sign + body)
    return patterns


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:  # noqa: PTH123 - hot: every directory is asked
            text = file.read(_MAX_RULES + 1)
    except OSError:
        return []
    return [] if len(text) > _MAX_RULES else [line.removesuffix("\r") for line in text.split("\n")]


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:  # one pattern that is none must not cost the rest
        return False
    return True
