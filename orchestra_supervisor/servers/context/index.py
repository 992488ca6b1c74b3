"""The index of a tree's files, and what changed between two looks at it.

Events of the file system are hints where to look; what is true is what a look finds. So a lost, doubled or
reordered event costs nothing but time: `look` compares paths with the index and says what is new, gone,
different or moved. A file that went and a file that came with the same inode is one file that moved.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from orchestra_supervisor.servers.context.ignore import IgnoreRules
from orchestra_supervisor.servers.context.languages import language_of

__all__ = ["MAX_FILES", "Change", "Entry", "Index", "Look"]

MAX_FILES = 200_000
"""Files in the index; of a larger tree the rest is left out, and the answers say `truncated`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, or symbolic link.

    Attributes:
        path: Relative to the root, with slashes.
        size: Bytes.
        mtime: Seconds since the epoch.
        language: By name and extension; `other` where it is not known.
        identity: Device and inode.
    """

    path: str
    size: int
    mtime: float
    language: str
    identity: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two looks: `created`, `modified`, `deleted` or `renamed` (from `old_path`)."""

    kind: str
    path: str
    old_path: str | None = None


@dataclass(slots=True)
class Look:
    """What was found at some paths.

    Attributes:
        found: Entries by path.
        areas: Relative paths that were looked at whole: a file or a directory with all below it.
        directories: Directories (relative) that were entered.
        mixed: Those that hold an ignored directory somewhere below, and their parents.
        truncated: There are more than MAX_FILES.
    """

    found: dict[str, Entry] = field(default_factory=dict[str, Entry])
    areas: list[str] = field(default_factory=list[str])
    directories: set[str] = field(default_factory=set[str])
    mixed: set[str] = field(default_factory=set[str])
    truncated: bool = False


class Index:
    """The files of a tree. `look` may run in a worker thread; `apply` and the rest in one thread only.

    Args:
        root: Absolute path, symbolic links resolved.
        limit: Most files.
    """

    def __init__(self, root: str, limit: int = MAX_FILES) -> None:
        self.root = root
        self.truncated = False
        self._limit = limit
        self._entries: dict[str, Entry] = {}
        self._paths: dict[tuple[int, int], str] = {}
        self._sorted: tuple[Entry, ...] | None = ()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, path: str) -> Entry | None:
        """Return the entry of a relative path."""
        return self._entries.get(path)

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries by path, as they are now; the tuple does not change later."""
        if self._sorted is None:
            self._sorted = tuple(self._entries[path] for path in sorted(self._entries))
        return self._sorted

    def look(self, paths: Iterable[str]) -> Look:
        """See what is at some relative paths (`""`: the root), directories with all below them."""
        look = Look()
        known: dict[str, IgnoreRules] = {}
        for path in _outermost(paths):
            look.areas.append(path)
            rules, ignored = self._rules_at(path, known)
            full = f"{self.root}/{path}" if path else self.root
            try:
                facts = os.lstat(full)
            except OSError:
                continue
            if ignored:
                continue
            if stat.S_ISDIR(facts.st_mode):
                self._walk(full, rules, look)
            else:
                self._add(full, facts, look)
        self._look_where_from(look)
        return look

    def apply(self, look: Look) -> list[Change]:
        """Take over what a look has found; return what is different now, in the order of paths."""
        changes: list[Change] = []
        # A look that broke off at the limit does not know what is gone.
        before_look = () if look.truncated else self._within(look.areas)
        gone = {path: entry for path, entry in before_look if path not in look.found}
        gone_by_identity = {entry.identity: path for path, entry in gone.items()}
        for path, entry in sorted(look.found.items()):
            before = self._entries.get(path)
            if before is None:
                old_path = gone_by_identity.pop(entry.identity, None)
                if old_path is None and len(self._entries) >= self._limit:
                    look.truncated = True
                    continue
                if old_path is not None:
                    del gone[old_path]
                    self._drop(old_path)
                changes.append(Change("created" if old_path is None else "renamed", path, old_path))
            elif before != entry:
                changes.append(Change("modified", path))
                self._drop(path)  # where another file was put in its place, the inode of the one before goes
            self._entries[path] = entry
            self._paths[entry.identity] = path
        for path in sorted(gone):
            self._drop(path)
            changes.append(Change("deleted", path))
        if changes:
            self._sorted = None
        if "" in look.areas or look.truncated:
            self.truncated = look.truncated
        return changes

    def _drop(self, path: str) -> None:
        entry = self._entries.pop(path)
        if self._paths.get(entry.identity) == path:
            del self._paths[entry.identity]

    def _look_where_from(self, look: Look) -> None:
        """Look also where files that are new here stood before: the hint of that may come much later."""
        for path, entry in look.found.items():
            old_path = None if path in self._entries else self._paths.get(entry.identity)
            if old_path is None or old_path in look.found or os.path.lexists(f"{self.root}/{old_path}"):
                continue
            look.areas.append(old_path)

    def _within(self, areas: list[str]) -> Iterator[tuple[str, Entry]]:
        """Yield the entries of these files and of all below these directories."""
        if "" in areas:
            yield from self._entries.items()
            return
        single = [(path, self._entries[path]) for path in areas if path in self._entries]
        yield from single
        prefixes = tuple(f"{path}/" for path in areas if path not in self._entries)
        if prefixes:
            yield from ((path, entry) for path, entry in self._entries.items() if path.startswith(prefixes))

    def _rules_at(self, path: str, known: dict[str, IgnoreRules]) -> tuple[IgnoreRules, bool]:
        """Return the rules in force in a path (in its directory, for a file), and whether it is ignored."""
        if "" not in known:
            known[""] = IgnoreRules.of_root(self.root)
        rules = known[""]
        full = self.root
        segments = path.split("/") if path else []
        for number, name in enumerate(segments, start=1):
            full = f"{full}/{name}"
            is_directory = number < len(segments) or (os.path.isdir(full) and not os.path.islink(full))  # noqa: PTH112, PTH114 - hot
            if rules.is_ignored(full, name, is_directory=is_directory):
                return rules, True
            if is_directory:
                if full not in known:
                    known[full] = rules.below(full)
                rules = known[full]
        return rules, False

    def _walk(self, top: str, rules: IgnoreRules, look: Look) -> None:
        """Add all files below a directory; links are entries, and are not followed."""
        waiting = [(top, rules)]
        while waiting:
            directory, rules = waiting.pop()
            look.directories.add(directory[len(self.root) + 1 :])
            try:
                listing = list(os.scandir(directory))
            except OSError:
                continue  # gone, or not for us to read
            for item in listing:
                try:
                    is_directory = item.is_dir(follow_symlinks=False)
                    if rules.is_ignored(item.path, item.name, is_directory=is_directory):
                        if is_directory:
                            self._note_mixed(directory, look)
                    elif is_directory:
                        waiting.append((item.path, rules.below(item.path)))
                    elif len(look.found) >= self._limit:
                        look.truncated = True
                        return
                    else:
                        self._add(item.path, item.stat(follow_symlinks=False), look)
                except OSError:
                    continue

    def _note_mixed(self, directory: str, look: Look) -> None:
        path = directory[len(self.root) + 1 :]
        while path not in look.mixed:
            look.mixed.add(path)
            path = path.rpartition("/")[0]

    def _add(self, full: str, facts: os.stat_result, look: Look) -> None:
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
            return  # sockets, pipes and devices are no files of a project
        path = full[len(self.root) + 1 :]
        name = path.rpartition("/")[2]
        language = "symlink" if stat.S_ISLNK(facts.st_mode) else language_of(name)
        identity = (facts.st_dev, facts.st_ino)
        look.found[path] = Entry(path, facts.st_size, facts.st_mtime, language, identity)


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths without those that lie below another one."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if "" in kept or any(path.startswith(f"{other}/") for other in kept[-1:]):
            continue
        kept.append(path)
    return kept
