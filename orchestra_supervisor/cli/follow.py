"""The logs of a fleet, read from its files: no daemon is asked, so they can be read while it is away."""

import json
import resource
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from orchestra_supervisor.cli.words import nearest
from orchestra_supervisor.logfile.follower import Follower
from orchestra_supervisor.logfile.lines import LogLine
from orchestra_supervisor.logfile.many_lines import Pattern
from orchestra_supervisor.model.errors import UnknownService

__all__ = ["FleetLogs", "Layout", "NamedLine", "merge_by_time", "poll_interval"]

NamedLine = tuple[str, LogLine]

_POLL_EVERY = 0.1  # seconds between two looks at the files of a small fleet
_POLL_RATE = 1_000  # files looked at in a second, for a large one
_ALL = 1_000_000_000  # lines; more than a log has
_FDS_EACH = 2  # a follower holds a log and its index


class Layout:
    """Where a home keeps its logs.

    Args:
        directory: Of the log files.
        services: Names of all services.
        tags: Tag to the services that have it.
    """

    def __init__(
        self, directory: Path, services: list[str], tags: Mapping[str, list[str]] | None = None
    ) -> None:
        self.directory = directory
        self.services = services
        self.tags = tags or {}

    @classmethod
    def read(cls, home: Path) -> "Layout":
        """Read `layout.json`; without it, the files that are in `logs/` are the services."""
        try:
            content = json.loads((home / "layout.json").read_text(encoding="utf-8"))
            directory = home / str(content["log_directory"])
            tags = content.get("tags", {})
            return cls(directory, [str(name) for name in content["services"]], tags)
        except (OSError, ValueError, KeyError, TypeError):
            directory = home / "logs"
            return cls(directory, sorted(path.stem for path in directory.glob("*.log")))

    def path(self, name: str) -> Path:
        """Return the log file of a service; it need not exist."""
        return self.directory / f"{name}.log"

    def choose(self, wanted: list[str]) -> list[str]:
        """Return the services that names, globs, `tag:WORD` and `all` mean; none given: all.

        Raises:
            UnknownService: A name is neither that of a service nor of a log that one has left behind.
        """
        if not wanted:
            return list(self.services)
        chosen: list[str] = []
        for word in wanted:
            if word.startswith("tag:"):
                tagged = self.tags.get(word.removeprefix("tag:"), ())
                found = [name for name in self.services if name in tagged]
            else:
                found = [name for name in self.services if _is_meant(name, word)]
            if not found and "/" not in word and self.path(word).is_file():
                found = [word]
            if not found:
                close = nearest(word, self.services)
                raise UnknownService(
                    f"no service {word!r} in {self.directory}",
                    hint=f"did you mean {close}?"
                    if close
                    else f"services: {', '.join(self.services) or 'none'}",
                )
            chosen += found
        return list(dict.fromkeys(chosen))


def _is_meant(name: str, word: str) -> bool:
    base, _, number = name.rpartition("@")
    return word == "all" or fnmatchcase(name, word) or (base == word and number.isdigit())


class FleetLogs:
    """New lines of several services.

    Args:
        layout: Where their logs are.
        names: The services.
        limit: Newest lines of each that are handed out first; None: all.
        since: Wall seconds; only for those first lines.
        pattern: Only lines in which it is found.
    """

    def __init__(
        self,
        layout: Layout,
        names: Iterable[str],
        *,
        limit: int | None = 0,
        since: float | None = None,
        pattern: Pattern | None = None,
    ) -> None:
        self._layout = layout
        self._limit = _ALL if limit is None else limit
        self._since = since
        self._pattern = pattern
        self._followers: dict[str, Follower] = {}
        self._first: list[list[NamedLine]] = []
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Follow further services; those that are followed already are left alone."""
        new = [name for name in names if name not in self._followers]
        if new:
            _allow_descriptors(_FDS_EACH * (len(self._followers) + len(new)) + 64)
        for name in new:
            follower = Follower(str(self._layout.path(name)), pattern=self._pattern)
            self._followers[name] = follower
            if self._limit != 0:
                lines = follower.start(limit=self._limit, since_wall=self._since)
                self._first.append([(name, line) for line in lines])

    def take(self) -> list[NamedLine]:
        """Return the lines that have come since the last call, all services merged by time."""
        batches, self._first = self._first, []
        for name, follower in self._followers.items():
            with suppress(OSError):  # unreadable for now: it is looked at again
                batches.append([(name, line) for line in follower.poll()])
        return merge_by_time(batches)

    def close(self) -> None:
        """Close all files."""
        for follower in self._followers.values():
            follower.close()


def merge_by_time(batches: Iterable[list[NamedLine]]) -> list[NamedLine]:
    """Merge the lines of several services by time; the order within each service stays as it is."""
    keyed: list[tuple[float, NamedLine]] = []
    for batch in batches:
        latest = 0.0
        for name, line in batch:
            latest = max(latest, line.at_wall)  # a clock that steps back does not reorder a log
            keyed.append((latest, (name, line)))
    keyed.sort(key=lambda pair: pair[0])
    return [named for _, named in keyed]


def poll_interval(count: int) -> float:
    """Return the seconds between two looks at the logs of so many services."""
    return max(_POLL_EVERY, count / _POLL_RATE)


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
