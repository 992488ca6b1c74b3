"""What a run uses: processor, memory, descriptors, threads, bytes, of its whole process tree."""

from dataclasses import dataclass, fields
from typing import Literal

__all__ = ["ROLE_PREFIX", "FigureQuery", "FigureRow", "Figures"]

ROLE_PREFIX = "role:"
"""Before `keeper`, `logger` and `daemon` where figures are kept by name; a service's name has no colon."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at one process tree, or the mean of several.

    Attributes:
        at: Wall seconds.
        cpu: Percent of one processor since the look before; None at the first look.
        memory: Bytes.
        memory_kind: `pss` (shared pages shared out among their users) or `rss` (counted in full by each).
        processes: How many there are.
        threads: Of all of them.
        fds: Open descriptors; None where they may not be seen.
        read_bytes: Read from storage by those seen alive; None likewise, and where the system does not count.
        write_bytes: Written to storage, likewise.
    """

    at: float
    cpu: float | None
    memory: int
    memory_kind: Literal["pss", "rss"]
    processes: int
    threads: int
    fds: int | None
    read_bytes: int | None
    write_bytes: int | None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of the control API."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(field.name for field in fields(Figures))


@dataclass(frozen=True, slots=True)
class FigureRow:
    """The figures of one service, or of one of our own processes under ROLE_PREFIX."""

    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class FigureQuery:
    """Which figures of the past are wanted.

    Attributes:
        since: Wall seconds; older ones are left out.
        name: Of whom; empty: of all.
        limit: The newest so many.
    """

    since: float = 0.0
    name: str = ""
    limit: int = 20_000
