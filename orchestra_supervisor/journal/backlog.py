"""What waits to be written: bounded, ordered, and honest about what it had to drop.

Pure: no I/O, no clock. Events beyond the bound push out the oldest event that is not audit;
the rest are states, of which only the latest counts, so they need no queue.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from orchestra_supervisor.journal.records import Hold, RunRow, is_audit
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.figures import FigureRow

__all__ = ["AUDIT_LIMIT", "EVENT_LIMIT", "FIGURE_LIMIT", "Backlog", "Batch"]

EVENT_LIMIT = 10_000
"""Events in memory that are not audit; at some 500 bytes each a disk may be full for long within 5 MB."""
AUDIT_LIMIT = 10_000
"""Audit events in memory; a daemon that cannot write its audit refuses further commands."""
FIGURE_LIMIT = 5_000
"""Figures in memory; beyond it the oldest are dropped without a word, as they only tell how things went."""


@dataclass(slots=True)
class Batch:
    """What one transaction writes.

    Attributes:
        events: In no particular order; each has its seq.
        holds: By service; None: cleared.
        runs: By run id.
        plans: By service; None: forgotten.
        figures: In the order in which they were taken.
        durable: Whether somebody waits for it to be safe against loss of power.
    """

    events: list[Event] = field(default_factory=list[Event])
    holds: dict[str, Hold | None] = field(default_factory=dict[str, Hold | None])
    runs: dict[str, RunRow] = field(default_factory=dict[str, RunRow])
    plans: dict[str, float | None] = field(default_factory=dict[str, float | None])
    figures: list[FigureRow] = field(default_factory=list[FigureRow])
    durable: bool = False


class Backlog:
    """Events, holds, runs and plans on their way to the disk."""

    def __init__(self, event_limit: int = EVENT_LIMIT, audit_limit: int = AUDIT_LIMIT) -> None:
        self._event_limit = event_limit
        self._audit_limit = audit_limit
        self._events: deque[Event] = deque()
        self._audit: deque[Event] = deque()
        self._holds: dict[str, Hold | None] = {}
        self._runs: dict[str, RunRow] = {}
        self._plans: dict[str, float | None] = {}
        self._figures: deque[FigureRow] = deque(maxlen=FIGURE_LIMIT)
        self._in_flight: Batch | None = None
        self.durable = False
        """Whether somebody waits for what is here."""
        self.dropped = 0
        """Events dropped since the last `take_dropped`."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        waiting = (self._events, self._audit, self._holds, self._runs, self._plans, self._figures)
        return not any(waiting)

    @property
    def is_audit_full(self) -> bool:
        """Whether no further audit event can be kept."""
        return len(self._audit) >= self._audit_limit

    def add(self, event: Event) -> None:
        """Take an event; the oldest that is not audit makes room when the bound is reached."""
        if is_audit(event) and not self.is_audit_full:
            self._audit.append(event)
            return
        self._events.append(event)
        if len(self._events) > self._event_limit:
            self._events.popleft()
            self.dropped += 1

    def add_hold(self, service: str, hold: Hold | None) -> None:
        """Take the latest word on a stop by hand."""
        self._holds[service] = hold

    def add_run(self, row: RunRow) -> None:
        """Take the latest word on a run."""
        self._runs[row.run] = row

    def add_figures(self, rows: Iterable[FigureRow]) -> None:
        """Take figures; the oldest make room when the bound is reached."""
        self._figures.extend(rows)

    def add_plan(self, service: str, reached: float | None) -> None:
        """Take the latest word on how far a service has come with its schedule."""
        self._plans[service] = reached

    def take(self) -> Batch:
        """Return all that is here as one batch; it stays visible in `pending` until `done` or `put_back`."""
        events = [*self._events, *self._audit]
        batch = Batch(events, self._holds, self._runs, self._plans, [*self._figures], self.durable)
        self._events.clear()
        self._audit.clear()
        self._figures.clear()
        self._holds, self._runs, self._plans, self.durable = {}, {}, {}, False
        self._in_flight = batch
        return batch

    def take_dropped(self) -> int:
        """Return how many events were dropped since the last call."""
        count, self.dropped = self.dropped, 0
        return count

    def done(self) -> None:
        """Forget the batch that was taken: it is written."""
        self._in_flight = None

    def put_back(self) -> None:
        """Take back the batch that could not be written; where they differ, what came since then counts."""
        batch, self._in_flight = self._in_flight, None
        if batch is None:
            return
        newer = [*self._events, *self._audit]
        self._events.clear()
        self._audit.clear()
        for event in [*batch.events, *newer]:
            self.add(event)
        self._holds = batch.holds | self._holds
        self._runs = batch.runs | self._runs
        self._plans = batch.plans | self._plans
        self._figures = deque([*batch.figures, *self._figures], FIGURE_LIMIT)

    def pending(self) -> Iterator[Event]:
        """Yield every event that is not known to be written."""
        if self._in_flight is not None:
            yield from self._in_flight.events
        yield from self._events
        yield from self._audit
