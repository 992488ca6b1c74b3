"""A journal in memory with the interface of the real one, for the engine's simulation."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

from anyio.lowlevel import checkpoint

from orchestra_supervisor.journal.records import EventQuery, Hold, RunRow
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.figures import FigureQuery, FigureRow, Figures

__all__ = ["FIGURES_KEPT", "MemoryJournal"]

FIGURES_KEPT = 20_000
"""Figures that are kept: an hour of some fifty services."""


class MemoryJournal:
    """Keeps everything in memory; outlives a simulated daemon as a file would.

    Args:
        keep: Events that are kept.
    """

    def __init__(self, keep: int = 100_000) -> None:
        self._events: deque[Event] = deque(maxlen=keep)
        self._last_seq = 0
        self._holds: dict[str, Hold] = {}
        self._runs: dict[str, RunRow] = {}
        self._plans: dict[str, float] = {}
        self._figures: deque[FigureRow] = deque(maxlen=FIGURES_KEPT)

    def record_nowait(self, event: Event) -> Event:
        """Take an event and return it with its seq."""
        self._last_seq += 1
        numbered = replace(event, seq=self._last_seq)
        self._events.append(numbered)
        return numbered

    async def record(self, event: Event) -> Event:
        """Take an event and return it with its seq."""
        numbered = self.record_nowait(event)
        await checkpoint()
        return numbered

    async def written(self) -> None:
        """Return at once."""
        await checkpoint()

    async def events(self, query: EventQuery) -> list[Event]:
        """Return the wanted events in ascending order."""
        await checkpoint()
        return query.cut([event for event in self._events if query.matches(event)])

    def last_seq(self) -> int:
        """Return the seq of the newest event, 0 when there is none."""
        return self._last_seq

    async def set_hold(self, hold: Hold) -> None:
        """Remember a stop by hand."""
        self._holds[hold.service] = hold
        await checkpoint()

    async def clear_hold(self, service: str) -> None:
        """Forget a stop by hand."""
        self._holds.pop(service, None)
        await checkpoint()

    def holds(self) -> Mapping[str, Hold]:
        """Return all stops by hand, by service."""
        return dict(self._holds)

    def run_started(self, row: RunRow) -> None:
        """Remember a run."""
        self._runs[row.run] = row

    def run_ended(self, run: str, ended_wall: float, exit_text: str) -> None:  # noqa: ARG002 - ended runs are not kept
        """Forget a run: nothing of it is left."""
        self._runs.pop(run, None)

    def set_plan(self, service: str, reached: float | None) -> None:
        """Remember up to which wall instant planned runs have been dealt with; None: forget."""
        if reached is None:
            self._plans.pop(service, None)
        else:
            self._plans[service] = reached

    def plans(self) -> Mapping[str, float]:
        """Return how far periodic services have come with their schedules, by service."""
        return dict(self._plans)

    def keep(self, events: int) -> None:
        """Keep so many events from now on."""
        self._events = deque(self._events, maxlen=events)

    def open_runs(self) -> list[RunRow]:
        """Return the runs that have not ended."""
        return list(self._runs.values())

    def add_figures(self, rows: Iterable[FigureRow]) -> None:
        """Take figures."""
        self._figures.extend(rows)

    async def figures(self, query: FigureQuery) -> dict[str, list[Figures]]:
        """Return the wanted figures by name in ascending order."""
        await checkpoint()
        wanted = [
            row for row in self._figures if row.figures.at >= query.since and query.name in {"", row.name}
        ][-query.limit :]
        found: dict[str, list[Figures]] = {}
        for row in wanted:
            found.setdefault(row.name, []).append(row.figures)
        return found
