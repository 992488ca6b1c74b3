"""The durable record: events and audit, stops by hand, plans of schedules, runs.

One task writes; all that waits is one transaction. Engine code hands over events without
waiting and sees their seq at once; who needs certainty (audit, stops by hand) waits for the
commit, which then reaches the disk. A broken disk does not stop the daemon: events stay in
memory within a bound, and what had to be dropped is counted and told.
"""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import anyio
from anyio import to_thread

from orchestra_supervisor.journal.backlog import EVENT_LIMIT, Backlog
from orchestra_supervisor.journal.records import EventQuery, Hold, RunRow, is_audit
from orchestra_supervisor.journal.store import DamagedFile, Store, is_damage, set_aside
from orchestra_supervisor.journal.waiters import Waiters
from orchestra_supervisor.model.errors import JournalError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.figures import FigureQuery, FigureRow, Figures

__all__ = ["Journal"]

COMMIT_INTERVAL = 0.02
"""Seconds between the starts of two transactions nobody waits for: 50 a second when busy, none when idle."""
RETRY_FIRST = 0.25
"""Seconds until a write that failed is tried again; doubles up to RETRY_CAP."""
RETRY_CAP = 10.0
"""Longest pause between two tries while the disk is full."""


def _ignore(_event: Event) -> None:
    return


class Journal:
    """The journal of one home. Use `Journal.open`; all methods belong to the event loop's thread."""

    def __init__(self, path: Path, keep: int, now_wall: float, on_problem: Callable[[Event], None]) -> None:
        self._path = path.absolute()
        self._store = Store(self._path, keep)
        self._on_problem = on_problem
        self._wall = now_wall
        self._backlog = Backlog()
        self._waiters = Waiters()
        self._last_seq = 0
        self._holds: dict[str, Hold] = {}
        self._runs: dict[str, RunRow] = {}
        self._plans: dict[str, float] = {}
        self._generation = 0
        """Counts the files: two who find the same damage replace it once."""
        self._trouble = ""
        self._wake = anyio.Event()
        self._hurry = anyio.Event()
        self._writing = anyio.CapacityLimiter(1)
        self._reading = anyio.CapacityLimiter(1)
        self._write_lock = anyio.Lock()
        self._read_lock = anyio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        now_wall: float,
        keep: int = 100_000,
        on_problem: Callable[[Event], None] = _ignore,
    ) -> AsyncGenerator[Self]:
        """Open a journal for the time of the block; what waits is written when the block ends.

        Args:
            path: Of the file; made when missing. A damaged one is set aside and a fresh one begun.
            now_wall: Wall seconds; stamps what the journal itself has to tell.
            keep: Events that are kept.
            on_problem: Told of `journal.damaged`, `journal.unwritable`, `journal.dropped` and
                `journal.recovered`, each recorded already; must not wait or raise.

        Yields:
            The journal.

        Raises:
            JournalError: The file cannot be opened for writing, or is of a newer version.
        """
        journal = cls(path, keep, now_wall, on_problem)
        await journal._open_file()
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(journal._write_loop)
                try:
                    yield journal
                except Exception as error:  # noqa: BLE001 - raised again below, outside of the group's wrapping
                    failure = error
                group.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            await journal._close()

    def record_nowait(self, event: Event) -> Event:
        """Take an event and return it with its seq.

        Never waits. Within memory's bound nothing is lost but by our death; beyond it the oldest
        events that are not audit are dropped, counted, and told as `journal.dropped`.
        """
        numbered = self._number(event)
        self._backlog.add(numbered)
        self._wake.set()
        return numbered

    async def record(self, event: Event) -> Event:
        """Take an event and return it with its seq once it is safe against loss of power.

        Raises:
            JournalError: It could not be written now; it stays in memory and is tried again.
        """
        if is_audit(event) and self._backlog.is_audit_full:
            raise JournalError(
                f"{self._path}: too much audit waits to be written: {self._trouble}",
                hint="free space on the disk",
                path=str(self._path),
            )
        numbered = self.record_nowait(event)
        await self.written()
        return numbered

    async def events(self, query: EventQuery) -> list[Event]:
        """Return the wanted events in ascending order, those not yet on disk included.

        Raises:
            JournalError: The file cannot be read.
        """
        if query.limit <= 0:
            return []
        found: dict[int, Event] = {}
        for attempt in (1, 2):
            # Pending first: what is committed between the two looks is then seen twice, never not at all.
            found = {event.seq: event for event in self._backlog.pending() if query.matches(event)}
            generation = self._generation
            try:
                async with self._read_lock:
                    stored = await to_thread.run_sync(self._store.read, query, limiter=self._reading)
            except sqlite3.Error as error:
                if attempt == 1 and is_damage(error) and await self._replace_file(generation, str(error)):
                    continue
                raise JournalError(f"{self._path} cannot be read: {error}", path=str(self._path)) from error
            found |= {event.seq: event for event in stored}
            break
        return query.cut([found[seq] for seq in sorted(found)])

    def last_seq(self) -> int:
        """Return the seq of the newest event, 0 when there is none."""
        return self._last_seq

    async def set_hold(self, hold: Hold) -> None:
        """Remember a stop by hand; returns once it is safe against loss of power.

        Raises:
            JournalError: It could not be written now; it holds in memory and is tried again.
        """
        self._holds[hold.service] = hold
        self._backlog.add_hold(hold.service, hold)
        await self.written()

    async def clear_hold(self, service: str) -> None:
        """Forget a stop by hand; returns once that is safe. Without such a hold nothing happens.

        Raises:
            JournalError: It could not be written now; it is forgotten in memory and tried again.
        """
        if self._holds.pop(service, None) is None:
            return
        self._backlog.add_hold(service, None)
        await self.written()

    def holds(self) -> Mapping[str, Hold]:
        """Return all stops by hand, by service."""
        return dict(self._holds)

    def run_started(self, row: RunRow) -> None:
        """Remember a run. Never waits."""
        self._runs[row.run] = row
        self._backlog.add_run(row)
        self._wake.set()

    def run_ended(self, run: str, ended_wall: float, exit_text: str) -> None:
        """Remember that nothing of a run is left. Never waits; an unknown run is ignored.

        Args:
            run: Run id.
            ended_wall: Wall seconds.
            exit_text: For people: `exit code 1`.
        """
        row = self._runs.pop(run, None)
        if row is not None:
            self._backlog.add_run(replace(row, ended_wall=ended_wall, exit=exit_text))
            self._wake.set()

    def set_plan(self, service: str, reached: float | None) -> None:
        """Remember up to which wall instant planned runs have been dealt with; None: forget. Never waits."""
        if reached is None:
            self._plans.pop(service, None)
        else:
            self._plans[service] = reached
        self._backlog.add_plan(service, reached)
        self._wake.set()

    def plans(self) -> Mapping[str, float]:
        """Return how far periodic services have come with their schedules, by service."""
        return dict(self._plans)

    def keep(self, events: int) -> None:
        """Keep so many events from now on, those already written included."""
        self._store.keep = events

    def open_runs(self) -> list[RunRow]:
        """Return the runs that have not ended, those of earlier daemons included."""
        return list(self._runs.values())

    def add_figures(self, rows: Iterable[FigureRow]) -> None:
        """Take figures. Never waits; see `Backlog.add_figures` for what is dropped."""
        self._backlog.add_figures(rows)
        self._wake.set()

    async def figures(self, query: FigureQuery) -> dict[str, list[Figures]]:
        """Return the wanted figures by name in ascending order; the last 20 ms may be missing.

        Raises:
            JournalError: The file cannot be read.
        """
        try:
            async with self._read_lock:
                return await to_thread.run_sync(self._store.read_figures, query, limiter=self._reading)
        except sqlite3.Error as error:
            raise JournalError(f"{self._path} cannot be read: {error}", path=str(self._path)) from error

    def _number(self, event: Event) -> Event:
        self._last_seq += 1
        self._wall = max(self._wall, event.at_wall)
        return replace(event, seq=self._last_seq)

    def _tell(self, kind: str, message: str, **data: object) -> None:
        self._on_problem(self.record_nowait(Event(kind, message, self._wall, data={**data})))

    async def written(self) -> None:
        """Return once all that was taken so far is safe against loss of power; else raise JournalError."""
        self._backlog.durable = True
        self._wake.set()
        self._hurry.set()
        await self._waiters.wait()

    async def _write_loop(self) -> None:
        pause = 0.0
        while True:
            if self._backlog.is_empty and not self._waiters:
                await self._wake.wait()
            self._wake, self._hurry = anyio.Event(), anyio.Event()
            written = await self._commit()
            pause = COMMIT_INTERVAL if written else min(max(pause * 2, RETRY_FIRST), RETRY_CAP)
            with anyio.move_on_after(pause):
                await self._hurry.wait()

    async def _commit(self) -> bool:
        """Write all that waits; return whether that succeeded."""
        if not self._trouble:
            self._tell_dropped("they came faster than they could be written")
        batch, waiters = self._backlog.take(), self._waiters.take()
        error: sqlite3.Error | None = None
        # Shielded: a batch is written or put back, never forgotten in between.
        with anyio.CancelScope(shield=True):
            async with self._write_lock:
                generation = self._generation
                try:
                    await to_thread.run_sync(self._store.write, batch, limiter=self._writing)
                except sqlite3.Error as caught:
                    error = caught
            if error is None:
                self._backlog.done()
                self._waiters.tell(waiters)
                self._tell_recovered()
                return True
            self._backlog.put_back()
            if is_damage(error) and await self._replace_file(generation, str(error)):
                self._waiters.put_back(waiters)
                self._backlog.durable = batch.durable or self._backlog.durable
                return True
        trouble, self._trouble = self._trouble, str(error)
        if not trouble:
            self._tell("journal.unwritable", f"{self._path} cannot be written: {error}", reason=str(error))
        self._waiters.tell(waiters, partial(self._unwritten, error))
        return False

    def _tell_recovered(self) -> None:
        if trouble := self._trouble:
            self._trouble = ""
            self._tell("journal.recovered", f"{self._path} can be written again")
            self._tell_dropped(trouble)

    def _tell_dropped(self, reason: str) -> None:
        if count := self._backlog.take_dropped():
            self._tell(
                "journal.dropped", f"{count} events were dropped: {reason}", count=count, reason=reason
            )

    def _unwritten(self, cause: sqlite3.Error | None) -> JournalError:
        error = JournalError(
            f"{self._path} cannot be written: {cause}",
            hint="free space on the disk; what is not written stays in memory and is tried again",
            path=str(self._path),
        )
        error.__cause__ = cause
        return error

    async def _open_file(self) -> None:
        def work() -> tuple[Path | None, str]:
            try:
                opened, moved, reason = self._store.open(), None, ""
            except DamagedFile as damage:
                moved, reason = set_aside(self._path, self._wall), str(damage)
                opened = self._store.open()
            # A daemon that was killed has told events that it did not come to keep. Who follows goes on from
            # their numbers, so none of them is given again.
            self._last_seq = opened.last_seq + EVENT_LIMIT if opened.last_seq else 0
            self._holds, self._runs, self._plans = opened.holds, opened.runs, opened.plans
            return moved, reason

        try:
            moved, reason = await to_thread.run_sync(work, limiter=self._writing)
        except DamagedFile as again:
            raise JournalError(f"{self._path}: a fresh journal is damaged too: {again}") from again
        if moved is not None:
            # Clients go on from the seq they know. What it was is lost; wall milliseconds are beyond it.
            self._last_seq = int(self._wall * 1000)
            self._tell_damage(moved, reason)

    async def _replace_file(self, generation: int, reason: str) -> bool:
        """Set the damaged file aside and begin a fresh one with all that memory knows.

        Args:
            generation: Of the file in which the damage was seen.
            reason: What was seen.

        Returns:
            Whether there is a fresh file now.
        """

        def work() -> Path:
            self._store.close()
            moved = set_aside(self._path, self._wall)
            self._store.open()
            return moved

        async with self._write_lock, self._read_lock:
            if generation != self._generation:
                return True
            self._generation += 1
            for hold in self._holds.values():
                self._backlog.add_hold(hold.service, hold)
            for row in self._runs.values():
                self._backlog.add_run(row)
            for service, reached in self._plans.items():
                self._backlog.add_plan(service, reached)
            try:
                moved = await to_thread.run_sync(work, limiter=self._writing)
            except (JournalError, DamagedFile):
                return False
        self._tell_damage(moved, reason)
        return True

    def _tell_damage(self, moved: Path, reason: str) -> None:
        text = f"{self._path} was damaged ({reason}); it was set aside as {moved.name} and a fresh one begun"
        self._tell("journal.damaged", text, path=str(moved), reason=reason)

    async def _close(self) -> None:
        # Shielded without a deadline: a thread cannot be left behind; store.BUSY_SECONDS bounds its wait.
        with anyio.CancelScope(shield=True):
            for _ in range(2):  # the second for what the first had to tell
                if not self._backlog.is_empty:
                    await self._commit()
            closed = sqlite3.OperationalError("the journal was closed")
            self._waiters.tell(self._waiters.take(), partial(self._unwritten, closed))
            await to_thread.run_sync(self._store.close, limiter=self._writing)
