"""Which paths of a tree do not count: .gitignore files, nested ones too, and directories that never do.

The rules are git's: of all patterns that fit a path the last one of the deepest file decides, and what lies
in an ignored directory is ignored whatever a pattern says. Source: gitignore(5).
"""

import os
from collections.abc import Iterable

from pathspec import GitIgnoreSpec

__all__ = ["ALWAYS_IGNORED", "IgnoreRules"]

ALWAYS_IGNORED = frozenset({".git", "node_modules", ".venv", ".orchestra"})
"""Names of files and directories that are ignored wherever they stand."""

_MAX_RULES = 1024 * 1024  # bytes of one .gitignore; a larger one is passed over


class IgnoreRules:
    """The rules in force in one directory.

    Args:
        directory: Absolute path.
        specs: (absolute directory, patterns) of the files above it, the outermost first.
    """

    __slots__ = ("_specs",)

    def __init__(self, directory: str, specs: Iterable[tuple[str, GitIgnoreSpec]] = ()) -> None:
        self._specs = tuple(specs)
        own = _read(os.path.join(directory, ".gitignore"))  # noqa: PTH118 - a walk of 200,000 files
        if own is not None:
            self._specs = (*self._specs, (directory, own))

    def below(self, directory: str) -> "IgnoreRules":
        """Return the rules in force in a directory of this one."""
        return IgnoreRules(directory, self._specs)

    def is_ignored(self, path: str, name: str, *, is_directory: bool) -> bool:
        """Return whether an entry of this directory does not count.

        Args:
            path: Absolute path of the entry.
            name: Its last segment.
            is_directory: Whether it is a directory (a link to one is none).
        """
        if name in ALWAYS_IGNORED:
            return True
        for base, spec in reversed(self._specs):
            verdict = spec.check_file(path[len(base) + 1 :] + ("/" if is_directory else "")).include
            if verdict is not None:
                return verdict
        return False

    @classmethod
    def of_root(cls, root: str) -> "IgnoreRules":
        """Return the rules of a tree's top: those of the repository it lies in count, too."""
        above: list[str] = []
        directory = root
        while not os.path.lexists(os.path.join(directory, ".git")):  # noqa: PTH118 - likewise
            parent = os.path.dirname(directory)  # noqa: PTH120 - likewise
            if parent == directory:
                above.clear()  # no repository: then what stands above is nobody's rule
                break
            above.append(parent)
            directory = parent
        specs: list[tuple[str, GitIgnoreSpec]] = []
        exclude = _read(os.path.join(directory, ".git", "info", "exclude"))  # noqa: PTH118 - likewise
        if exclude is not None:
            specs.append((directory, exclude))
        for parent in reversed(above):
            rules = _read(os.path.join(parent, ".gitignore"))  # noqa: PTH118 - likewise
            if rules is not None:
                specs.append((parent, rules))
        return cls(root, specs)


def _read(path: str) -> GitIgnoreSpec | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - likewise
            text = file.read(_MAX_RULES + 1)
    except OSError:
        return None
    if len(text) > _MAX_RULES:
        return None
    try:
        return GitIgnoreSpec.from_lines(text.splitlines())
    except ValueError:  # one pattern that is none must not cost the rest
        return GitIgnoreSpec.from_lines(line for line in text.splitlines() if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
