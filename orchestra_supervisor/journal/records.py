"""What the journal holds beside events: stops by hand, plans of schedules, runs for finding leftovers."""

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.figures import FigureQuery, FigureRow, Figures

__all__ = ["AUDIT_PREFIX", "AnyJournal", "EventQuery", "Hold", "RunRow", "is_audit"]

AUDIT_PREFIX = "control."
"""Events of this kind say who did what, why, and with what result; they are never dropped."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A stop by hand: the service stays down until somebody starts it.

    Attributes:
        service: Name of the service.
        since: Wall seconds.
        who: Who stopped it, as the audit names them.
        reason: Their words, or empty.
    """

    service: str
    since: float
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run, with what identifies its leader after everything of ours has died.

    Attributes:
        run: Run id.
        service: Name of the service.
        pid: Of the leader.
        start_ticks: Field 22 of its `/proc/PID/stat`.
        boot_id: Of the boot in which it was started.
        started_wall: Wall seconds.
        ended_wall: Wall seconds when the run was gone, or None.
        exit: For people: `exit code 1`; empty while it runs.
    """

    run: str
    service: str
    pid: int
    start_ticks: int
    boot_id: str
    started_wall: float
    ended_wall: float | None = None
    exit: str = ""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events are wanted.

    Attributes:
        after: Only those with a greater seq.
        limit: At most so many.
        service: Only those of this service; empty: of all.
        kind_prefix: Only those whose kind begins so; empty: all.
        newest: The last `limit` of them, else the first. Always in ascending order.
    """

    after: int = 0
    limit: int = 100
    service: str = ""
    kind_prefix: str = ""
    newest: bool = True

    def matches(self, event: Event) -> bool:
        """Return whether one event is wanted, the limit aside."""
        return (
            event.seq > self.after
            and (not self.service or event.service == self.service)
            and event.kind.startswith(self.kind_prefix)
        )

    def cut(self, ascending: list[Event]) -> list[Event]:
        """Return at most `limit` of events in ascending order, from the wanted end."""
        if self.limit <= 0:
            return []
        return ascending[-self.limit :] if self.newest else ascending[: self.limit]


def is_audit(event: Event) -> bool:
    """Return whether an event belongs to the audit."""
    return event.kind.startswith(AUDIT_PREFIX)


class AnyJournal(Protocol):
    """What the engine and control need of a journal: in SQLite, or in memory for the simulation."""

    def record_nowait(self, event: Event) -> Event:
        """Take an event and return it with its seq. Never waits; under pressure the oldest may be dropped."""
        ...

    def record(self, event: Event) -> Awaitable[Event]:
        """Take an event and return it with its seq once it is safe on disk."""
        ...

    def written(self) -> Awaitable[None]:
        """Return once all that was taken so far is safe on disk; raises JournalError."""
        ...

    def events(self, query: EventQuery) -> Awaitable[list[Event]]:
        """Return the wanted events in ascending order, those not yet on disk included."""
        ...

    def keep(self, events: int) -> None:
        """Keep so many events from now on, those already there included."""
        ...

    def last_seq(self) -> int:
        """Return the seq of the newest event, 0 when there is none."""
        ...

    def set_hold(self, hold: Hold) -> Awaitable[None]:
        """Remember a stop by hand; returns once it is safe on disk."""
        ...

    def clear_hold(self, service: str) -> Awaitable[None]:
        """Forget a stop by hand; returns once that is safe on disk."""
        ...

    def holds(self) -> Mapping[str, Hold]:
        """Return all stops by hand, by service."""
        ...

    def run_started(self, row: RunRow) -> None:
        """Remember a run. Never waits."""
        ...

    def run_ended(self, run: str, ended_wall: float, exit_text: str) -> None:
        """Remember that nothing of a run is left. Never waits; an unknown run is ignored."""
        ...

    def set_plan(self, service: str, reached: float | None) -> None:
        """Remember up to which wall instant planned runs have been dealt with; None: forget. Never waits."""
        ...

    def plans(self) -> Mapping[str, float]:
        """Return how far periodic services have come with their schedules, by service."""
        ...

    def open_runs(self) -> list[RunRow]:
        """Return the runs that have not ended, as far as is known."""
        ...

    def add_figures(self, rows: Iterable[FigureRow]) -> None:
        """Take figures. Never waits; under pressure the oldest are dropped."""
        ...

    def figures(self, query: FigureQuery) -> Awaitable[dict[str, list[Figures]]]:
        """Return the wanted figures by name in ascending order."""
        ...
