"""A SQLite file with a schema version, one writer, and a check that is worth the name.

WAL: readers are not held up by the writer, and what was committed is there after SIGKILL at any instant;
synchronous=FULL: also after a power cut.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from orchestra_supervisor.servers.settings import ServerError

__all__ = ["Database", "DatabaseUnavailable"]

_BUSY = 5.0  # seconds to wait for another process that writes
_MIN_FREE = 1024 * 1024  # bytes on the disk below which a write is as good as lost

Values = Sequence[str | int | float | None] | dict[str, str | int | float | None]


class DatabaseUnavailable(Exception):
    """The database cannot be read and written now; the message says why."""


class Database:
    """An open database; its methods may be called from any thread.

    Args:
        path: The file; made, unreadable for others, where it is missing.
        migrations: SQL statements; the n-th group takes the schema from version n to n + 1.

    Raises:
        ServerError: The file cannot be opened, is no database, or is newer than this program.
    """

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]]) -> None:
        self.path = path
        self.migrated_from = 0
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            with ExitStack() as opened, _alone_in(path.parent):
                self._writer = opened.enter_context(closing(_connect(path)))
                self._migrate(migrations)
                self._reader = opened.enter_context(closing(_connect(path)))
                self._reader.execute("PRAGMA query_only = ON")
                self._identity = _identity(path)
                self._opened = opened.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise ServerError(
                f"cannot open the database {path}: {error}",
                "move the file away to begin with an empty one; nothing was changed",
            ) from error

    def close(self) -> None:
        """Close the connections."""
        with self._write_lock, self._read_lock:
            self._opened.close()

    @property
    def version(self) -> int:
        """The schema version of the file."""
        return int(self.read("PRAGMA user_version")[0][0])

    def read(self, sql: str, values: Values = ()) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with self._read_lock:
            return self._reader.execute(sql, values).fetchall()

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """Hold the one write transaction; it is committed unless the body raises."""
        with self._write_lock, self._transaction():
            yield self._writer

    def check(self) -> None:
        """Prove that the database answers and takes a write.

        Raises:
            DatabaseUnavailable: It does not.
        """
        if _identity(self.path) != self._identity:
            raise DatabaseUnavailable(
                f"the database file {self.path} was removed or replaced under the server"
            )
        disk = os.statvfs(self.path)
        if disk.f_bavail * disk.f_frsize < _MIN_FREE:
            raise DatabaseUnavailable(f"the disk of {self.path} is full")
        if not self._write_lock.acquire(timeout=_BUSY):
            raise DatabaseUnavailable(f"a write to {self.path} has been going on for {_BUSY:g} s")
        try:
            self.read("SELECT 1")
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("PRAGMA user_version = 2147483647")  # taken back at once
            self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise DatabaseUnavailable(f"the database {self.path} does not take a write: {error}") from error
        finally:
            self._write_lock.release()

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._writer.execute("ROLLBACK")
            raise

    def _migrate(self, migrations: Sequence[Sequence[str]]) -> None:
        with self._transaction():  # two processes may begin at once: the second one finds nothing to do
            version = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
            if version > len(migrations):
                raise ServerError(
                    f"the database {self.path} has schema {version}, this program {len(migrations)}",
                    "run the newer program that wrote it",
                )
            self.migrated_from = version
            for statements in migrations[version:]:
                for statement in statements:
                    self._writer.execute(statement)
            if version < len(migrations):
                self._writer.execute(f"PRAGMA user_version = {len(migrations)}")


@contextmanager
def _alone_in(directory: Path) -> Generator[None]:
    """Keep other programs from opening a database here: the switch to WAL does not wait for a lock."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _connect(path: Path) -> sqlite3.Connection:
    with ExitStack() as opened:
        connection = opened.enter_context(
            closing(sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False))
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        opened.pop_all()
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
