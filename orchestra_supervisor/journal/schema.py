"""The tables of the journal file, and how an older file becomes a newer one."""

import sqlite3

__all__ = ["SCHEMA_VERSION", "ForeignFile", "NewerSchema", "migrate"]

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE events (
            seq INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            service TEXT NOT NULL,
            run TEXT NOT NULL,
            message TEXT NOT NULL,
            data TEXT NOT NULL
        )""",
        "CREATE INDEX events_of_service ON events (service, seq)",
        """CREATE TABLE holds (
            service TEXT PRIMARY KEY,
            since REAL NOT NULL,
            who TEXT NOT NULL,
            reason TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE runs (
            run TEXT PRIMARY KEY,
            service TEXT NOT NULL,
            pid INTEGER NOT NULL,
            start_ticks INTEGER NOT NULL,
            boot_id TEXT NOT NULL,
            started_wall REAL NOT NULL,
            ended_wall REAL,
            exit TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX runs_by_end ON runs (ended_wall)",
    ),
    ("CREATE TABLE plans (service TEXT PRIMARY KEY, reached REAL NOT NULL) WITHOUT ROWID",),
    (
        # Time before name: what comes in is appended, what is too old is cut off in one piece.
        """CREATE TABLE figures (
            grain INTEGER NOT NULL,
            at REAL NOT NULL,
            name TEXT NOT NULL,
            cpu REAL,
            memory INTEGER NOT NULL,
            memory_kind TEXT NOT NULL,
            processes INTEGER NOT NULL,
            threads INTEGER NOT NULL,
            fds INTEGER,
            read_bytes INTEGER,
            write_bytes INTEGER,
            PRIMARY KEY (grain, at, name)
        ) WITHOUT ROWID""",
    ),
)
"""Entry n turns a file of version n into one of version n + 1. Entries are never changed, only added."""

SCHEMA_VERSION = len(_MIGRATIONS)
"""Kept in the file as `PRAGMA user_version`."""

_COLUMNS = (
    "SELECT seq, at, kind, service, run, message, data FROM events LIMIT 0",
    "SELECT service, since, who, reason FROM holds LIMIT 0",
    "SELECT run, service, pid, start_ticks, boot_id, started_wall, ended_wall, exit FROM runs LIMIT 0",
    "SELECT service, reached FROM plans LIMIT 0",
    "SELECT grain, at, name, cpu, memory, memory_kind, fds, read_bytes, write_bytes FROM figures LIMIT 0",
)


class ForeignFile(Exception):
    """The file is an SQLite database, but not a journal."""


class NewerSchema(Exception):
    """The file was written by a newer version of this program."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a journal file up to SCHEMA_VERSION, in one transaction.

    Args:
        connection: To the file, in autocommit mode.

    Raises:
        ForeignFile: It has tables that are not ours.
        NewerSchema: Its version is above SCHEMA_VERSION.
        sqlite3.Error: It is damaged or cannot be written.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise NewerSchema(f"schema version {version}, this program knows {SCHEMA_VERSION}")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == 0 and tables:
        raise ForeignFile("it holds tables that are not a journal's")
    if version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statements in _MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    try:
        for select in _COLUMNS:
            connection.execute(select)
    except sqlite3.OperationalError as error:
        raise ForeignFile(f"its tables are not a journal's: {error}") from error
