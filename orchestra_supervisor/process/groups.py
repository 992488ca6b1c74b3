"""Control groups as the daemon sees them: what runs are known by, and what earlier keepers left in theirs.

A run's directory is called `SLOT.MARK.KEY-SERIAL`: the mark names the home, the key the keeper. A home has
one keeper at a time, so whatever is in a directory of this home and of another key was left behind.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NO_GROUPS", "RunGroups"]


@dataclass(frozen=True, slots=True)
class RunGroups:
    """Where the keeper puts runs.

    Attributes:
        version: 1 or 2; None: there are no control groups, and no directories.
        bases: The directories below which runs have theirs.
        mark: Names the home.
        key: Names the keeper.
        limits: Of `cpu`, `memory` and `pids`, those that they hold.
    """

    version: int | None = None
    bases: tuple[str, ...] = ()
    mark: str = ""
    key: str = ""
    limits: tuple[str, ...] = ()

    def left_behind(self) -> Iterator[tuple[int, str, str]]:
        """Yield (pid, service, name of the group) of what is in groups of earlier keepers of this home.

        Blocks for some milliseconds. A pid may have ended when it is looked at: see `holds`.
        """
        if not self.mark:
            return
        for base in self.bases:
            with suppress(OSError):
                for name in sorted(path.name for path in Path(base).iterdir()):
                    service, _, rest = name.rpartition(f".{self.mark}.")
                    if service and not rest.startswith(f"{self.key}-"):
                        for pid in _pids(Path(base) / name):
                            yield pid, service, name

    @staticmethod
    def holds(name: str, pid: int) -> bool:
        """Return whether a process is in the group of that name, or in one below it."""
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_bytes().splitlines()
        except OSError:
            return False
        return any(os.fsencode(name) in line.split(b":", 2)[-1].split(b"/") for line in lines)


NO_GROUPS = RunGroups()
"""Of a keeper that has none."""


def _pids(group: Path) -> Iterator[int]:
    for directory, _, _ in os.walk(group):
        with suppress(OSError, ValueError):
            yield from map(int, (Path(directory) / "cgroup.procs").read_bytes().split())
