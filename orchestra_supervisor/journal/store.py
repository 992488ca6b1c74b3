"""The journal file: every blocking SQLite call, made from worker threads, one at a time each way."""

import contextlib
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.journal.backlog import Batch
from orchestra_supervisor.journal.figures import read_figures, write_figures
from orchestra_supervisor.journal.records import EventQuery, Hold, RunRow
from orchestra_supervisor.journal.schema import ForeignFile, NewerSchema, migrate
from orchestra_supervisor.model.errors import JournalError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.figures import FigureQuery, Figures

__all__ = ["DamagedFile", "Opened", "Store", "is_damage", "set_aside"]

_CACHE = 128
"""KB of pages that each of the two connections keeps; by itself it would come to keep 2 MB. Rows are written
once and seldom read: what has to be read again is in the kernel's cache."""
BUSY_SECONDS = 5.0
"""How long another program (a person with the sqlite3 shell) may hold the file before a write fails."""
MESSAGE_LIMIT = 8 * 1024
"""Characters of a message that are kept."""
DATA_LIMIT = 64 * 1024
"""Characters of an event's data as JSON; larger data is replaced by its size."""
ENDED_RUNS_KEPT = 2_000
"""Runs that ended and are kept for people who look into the file."""
CHECKED_BYTES = 16 * 1024 * 1024
"""Files up to this size are checked page by page when opened; that is some tens of milliseconds."""

_INSERT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_HOLD = "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?)"
_INSERT_RUN = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_PLAN = "INSERT OR REPLACE INTO plans VALUES (?, ?)"
_SIDE_FILES = ("", "-wal", "-shm")


class DamagedFile(Exception):
    """The file is not a journal, or not whole; it must be set aside."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was in the file when it was opened: the greatest seq, all holds and plans, the runs not ended."""

    last_seq: int
    holds: dict[str, Hold]
    runs: dict[str, RunRow]
    plans: dict[str, float]


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file itself is broken, not the disk or the moment."""
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def set_aside(path: Path, now_wall: float) -> Path:
    """Rename a damaged journal and what belongs to it, so that it can be looked into; nothing is deleted.

    Args:
        path: Of the journal.
        now_wall: Wall seconds; become part of the name.

    Returns:
        The new path, `<name>.damaged-<wall seconds>`.

    Raises:
        JournalError: It cannot be renamed.
    """
    stem = f"{path}.damaged-{int(now_wall)}"
    target, attempt = Path(stem), 1
    while target.exists():
        target, attempt = Path(f"{stem}-{attempt}"), attempt + 1
    try:
        for side in _SIDE_FILES:
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{side}").rename(f"{target}{side}")
    except OSError as error:
        raise JournalError(
            f"{path}: damaged, and cannot be set aside: {error.strerror}",
            hint="move it away by hand, or make its directory writable",
            path=str(path),
        ) from error
    return target


class Store:
    """The open file. Not thread-safe as a whole: one writer at a time, one reader at a time.

    Args:
        path: Of the file.
        keep: Events that are kept; may be set anew at any time, from any thread.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self._path = path
        self.keep = keep
        self._untrimmed = 0
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    def open(self) -> Opened:
        """Open the file, making or migrating it where needed.

        Raises:
            DamagedFile: It must be set aside first.
            JournalError: It cannot be opened for writing.
        """
        try:
            self._create()
            self._writer = self._connect()
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA journal_size_limit = 4194304")
            migrate(self._writer)
            if self._path.stat().st_size <= CHECKED_BYTES:
                verdict = str(self._writer.execute("PRAGMA quick_check(1)").fetchone()[0])
                if verdict != "ok":
                    raise DamagedFile(verdict.splitlines()[-1])
            opened = self._load(self._writer)
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only = 1")
        except NewerSchema as error:
            self.close()
            raise JournalError(
                f"{self._path}: {error}",
                hint="run the newer orchestra-supervisor again, or move the file away to begin a new journal",
                path=str(self._path),
            ) from error
        except (DamagedFile, ForeignFile) as error:
            self.close()
            raise DamagedFile(str(error)) from error
        except (sqlite3.Error, OSError) as error:
            self.close()
            if isinstance(error, sqlite3.Error) and is_damage(error):
                raise DamagedFile(str(error)) from error
            raise self._refusal(error) from error
        return opened

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction, all or nothing.

        Raises:
            sqlite3.Error: Nothing of it was written.
        """
        connection = self._writer or self._reopened()
        # FULL makes the commit wait for the disk; NORMAL survives our death, not a loss of power.
        connection.execute(f"PRAGMA synchronous = {'FULL' if batch.durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(_INSERT_EVENT, [_event_row(event) for event in batch.events])
            for service, hold in batch.holds.items():
                if hold is None:
                    connection.execute("DELETE FROM holds WHERE service = ?", (service,))
                else:
                    row = (_text(hold.service), hold.since, _text(hold.who), _text(hold.reason))
                    connection.execute(_INSERT_HOLD, row)
            connection.executemany(_INSERT_RUN, [_run_row(row) for row in batch.runs.values()])
            for service, reached in batch.plans.items():
                if reached is None:
                    connection.execute("DELETE FROM plans WHERE service = ?", (_text(service),))
                else:
                    connection.execute(_INSERT_PLAN, (_text(service), reached))
            write_figures(connection, batch.figures)
            self._trim(connection, len(batch.events) + len(batch.runs))
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise

    def read(self, query: EventQuery) -> list[Event]:
        """Return the wanted events that are in the file, ascending.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        if self._reader is None:
            raise sqlite3.OperationalError("the file is not open")
        where, values = ["seq > ?"], [query.after]
        arguments: list[int | str] = [*values]
        if query.service:
            where.append("service = ?")
            arguments.append(query.service)
        if query.kind_prefix:
            where.append("substr(kind, 1, ?) = ?")
            arguments += [len(query.kind_prefix), query.kind_prefix]
        arguments.append(max(0, query.limit))
        order = "DESC" if query.newest else "ASC"
        # The words of the statement are constants; every value is bound.
        statement = (
            "SELECT seq, at, kind, service, run, message, data FROM events "  # noqa: S608 - see above
            f"WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?"
        )
        rows = self._reader.execute(statement, arguments).fetchall()
        return [_to_event(row) for row in (reversed(rows) if query.newest else rows)]

    def read_figures(self, query: FigureQuery) -> dict[str, list[Figures]]:
        """Return the wanted figures that are in the file, by name, ascending.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        if self._reader is None:
            raise sqlite3.OperationalError("the file is not open")
        return read_figures(self._reader, query)

    def close(self) -> None:
        """Close the file; the last writes are checkpointed where that is possible."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        self._reader = self._writer = None

    def _create(self) -> None:
        """Make an empty file that others cannot read: the audit names people and their reasons."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def _reopened(self) -> sqlite3.Connection:
        """Open the file that could not be opened when the damaged one was set aside."""
        try:
            self.open()
        except (JournalError, DamagedFile) as error:
            raise sqlite3.OperationalError(str(error)) from error
        assert self._writer is not None
        return self._writer

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        except sqlite3.Error:  # it looks into the file, which may be no database
            connection.close()
            raise
        return connection

    def _load(self, connection: sqlite3.Connection) -> Opened:
        last = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        holds = [Hold(*row) for row in connection.execute("SELECT service, since, who, reason FROM holds")]
        runs = [
            RunRow(*row)
            for row in connection.execute(
                "SELECT run, service, pid, start_ticks, boot_id, started_wall, ended_wall, exit "
                "FROM runs WHERE ended_wall IS NULL"
            )
        ]
        plans = {
            str(name): float(at) for name, at in connection.execute("SELECT service, reached FROM plans")
        }
        return Opened(
            int(last or 0), {hold.service: hold for hold in holds}, {row.run: row for row in runs}, plans
        )

    def _trim(self, connection: sqlite3.Connection, written: int) -> None:
        self._untrimmed += written
        if self._untrimmed < max(100, self.keep // 20):
            return
        self._untrimmed = 0
        connection.execute(
            "DELETE FROM events WHERE seq <= (SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?)",
            (self.keep,),
        )
        connection.execute(
            "DELETE FROM runs WHERE ended_wall <= (SELECT ended_wall FROM runs "
            "WHERE ended_wall IS NOT NULL ORDER BY ended_wall DESC LIMIT 1 OFFSET ?)",
            (ENDED_RUNS_KEPT,),
        )

    def _refusal(self, error: sqlite3.Error | OSError) -> JournalError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        folder = self._path.parent
        if not folder.is_dir():
            hint = f"make the directory {folder}"
        elif not os.access(folder, os.W_OK):
            hint = f"make {folder} writable, or choose another home with --home"
        else:
            hint = "free space on the disk, close other programs that use the file, or choose another --home"
        return JournalError(
            f"{self._path}: the journal cannot be opened: {reason}", hint=hint, path=str(self._path)
        )


def _text(value: str) -> str:
    # A lone surrogate (an undecodable byte of a file name) has no place in UTF-8.
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _event_row(event: Event) -> tuple[int, float, str, str, str, str, str]:
    try:
        data = json.dumps(event.data, separators=(",", ":"), default=repr)
    except (ValueError, TypeError, RecursionError):
        data = json.dumps({"unreadable": repr(type(event.data))})
    if len(data) > DATA_LIMIT:
        data = json.dumps({"truncated": len(data)})
    message = _text(event.message[:MESSAGE_LIMIT])
    service, run = _text(event.service), _text(event.run)
    return (event.seq, event.at_wall, _text(event.kind), service, run, message, data)


def _to_event(row: tuple[int, float, str, str, str, str, str]) -> Event:
    seq, at, kind, service, run, message, data = row
    try:
        parsed: dict[str, object] = json.loads(data)
    except ValueError:  # somebody else wrote into the file
        parsed = {}
    return Event(kind, message, at, service=service, run=run, data=parsed, seq=seq)


def _run_row(row: RunRow) -> tuple[str, str, int, int, str, float, float | None, str]:
    return (
        _text(row.run), _text(row.service), row.pid, row.start_ticks, row.boot_id, row.started_wall,
        row.ended_wall, _text(row.exit),
    )  # fmt: skip
