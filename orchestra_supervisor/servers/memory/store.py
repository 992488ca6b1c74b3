"""Memories in SQLite, found by full text and tags.

What a model types is data, never query language: a search text is cut into words, and each word is quoted
before FTS5 sees it.
"""

import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from orchestra_supervisor.servers.database import Database
from orchestra_supervisor.servers.settings import now

__all__ = ["MIGRATIONS", "Found", "Record", "Store"]

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE memories (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT UNIQUE,
            text TEXT NOT NULL,
            tags TEXT NOT NULL,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL
        ) STRICT""",
        """CREATE VIRTUAL TABLE memory_words USING fts5(
            text, key, tags, content='memories', content_rowid='id',
            tokenize='porter unicode61 remove_diacritics 2'
        )""",
        """CREATE TRIGGER memory_added AFTER INSERT ON memories BEGIN
            INSERT INTO memory_words (rowid, text, key, tags) VALUES (new.id, new.text, new.key, new.tags);
        END""",
        """CREATE TRIGGER memory_removed AFTER DELETE ON memories BEGIN
            INSERT INTO memory_words (memory_words, rowid, text, key, tags)
            VALUES ('delete', old.id, old.text, old.key, old.tags);
        END""",
        """CREATE TRIGGER memory_changed AFTER UPDATE ON memories BEGIN
            INSERT INTO memory_words (memory_words, rowid, text, key, tags)
            VALUES ('delete', old.id, old.text, old.key, old.tags);
            INSERT INTO memory_words (rowid, text, key, tags) VALUES (new.id, new.text, new.key, new.tags);
        END""",
    ),
)
"""The schema, version by version."""

_MAX_WORDS = 32  # words of a query that are looked for
_WORD = re.compile(r"[^\W_]+")  # the underscore parts words for FTS5, too


class Record(NamedTuple):
    """One memory as it is stored."""

    id: int
    key: str | None
    text: str
    tags: list[str]
    created_at: str
    updated_at: str


class Found(NamedTuple):
    """One memory that a search found.

    Attributes:
        record: The memory.
        snippet: Where the words stand, each in brackets.
        score: Higher is better; comparable within one search.
    """

    record: Record
    snippet: str
    score: float


class Store:
    """The memories; every method is one transaction and may be called from any thread.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path, MIGRATIONS)

    def remember(self, text: str, tags: Sequence[str], key: str | None) -> tuple[Record, bool]:
        """Keep a text; under a key that is taken, in place of what it held.

        Returns:
            The memory, and whether it is new.
        """
        moment = now()
        values = (text, json.dumps(sorted(set(tags)), ensure_ascii=False), moment)
        with self.database.write() as connection:
            found = connection.execute("SELECT id FROM memories WHERE key = ?", (key,)).fetchone()
            if found is None:
                sql = "INSERT INTO memories (text, tags, updated_at, created_at, key) VALUES (?, ?, ?, ?, ?)"
                number = connection.execute(sql, (*values, moment, key)).lastrowid
            else:
                number = found["id"]
                sql = "UPDATE memories SET text = ?, tags = ?, updated_at = ? WHERE id = ?"
                connection.execute(sql, (*values, number))
            row = connection.execute("SELECT * FROM memories WHERE id = ?", (number,)).fetchone()
        return _record(row), found is None

    def get(self, number: int) -> Record | None:
        """Return one memory, or None."""
        rows = self.database.read("SELECT * FROM memories WHERE id = ?", (number,))
        return _record(rows[0]) if rows else None

    def search(self, query: str, tags: Sequence[str], limit: int) -> tuple[list[Found], bool]:
        """Return the best matches; where none has all words, those that have some.

        Args:
            query: Any text; its words are looked for, the last one also as a beginning.
            tags: Only memories that carry all of these.
            limit: Most matches, 1 or more.

        Returns:
            The matches, best first, and whether they have all words.
        """
        words = list(dict.fromkeys(_WORD.findall(query)))[:_MAX_WORDS]
        if not words:
            return [], True
        quoted = [f'"{word}"' for word in words]
        quoted[-1] += "*"
        found = self._match(" AND ".join(quoted), tags, limit)
        if found or len(words) == 1:
            return found, True
        return self._match(" OR ".join(quoted), tags, limit), False

    def page(self, tags: Sequence[str], limit: int, before: int | None) -> tuple[list[Record], int | None]:
        """Return memories, newest first.

        Args:
            tags: Only those that carry all of these.
            limit: Most of them, 1 or more.
            before: Only those with a lower id.

        Returns:
            The memories, and the `before` of the next page, None on the last.
        """
        condition, values = _tagged(tags)
        sql = f"SELECT * FROM memories m WHERE {condition} AND m.id < ? ORDER BY m.id DESC LIMIT ?"  # noqa: S608 - texts of this module
        top = 2**63 - 1 if before is None else before
        rows = self.database.read(sql, [*values, top, limit + 1])
        return [_record(row) for row in rows[:limit]], rows[limit - 1]["id"] if len(rows) > limit else None

    def forget(self, number: int | None, key: str | None) -> Record | None:
        """Delete a memory by id or by key; return what it was, or None where there was none."""
        field, value = ("id", number) if number is not None else ("key", key)
        with self.database.write() as connection:
            sql = f"DELETE FROM memories WHERE {field} = ? RETURNING *"  # noqa: S608 - one of two words
            rows: list[sqlite3.Row] = connection.execute(sql, (value,)).fetchall()
        return _record(rows[0]) if rows else None

    def count(self) -> int:
        """Return how many memories there are."""
        return int(self.database.read("SELECT count(*) FROM memories")[0][0])

    def _match(self, expression: str, tags: Sequence[str], limit: int) -> list[Found]:
        condition, values = _tagged(tags)
        sql = f"""SELECT m.*, snippet(memory_words, 0, '[', ']', ' … ', 24) AS snippet, -rank AS score
            FROM memory_words JOIN memories m ON m.id = memory_words.rowid
            WHERE memory_words MATCH ? AND {condition} ORDER BY rank, m.id DESC LIMIT ?"""  # noqa: S608 - texts of this module
        rows = self.database.read(sql, [expression, *values, limit])
        return [Found(_record(row), row["snippet"], round(row["score"], 6)) for row in rows]


def _tagged(tags: Sequence[str]) -> tuple[str, list[str]]:
    one = "EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)"
    return " AND ".join(["1", *[one] * len(tags)]), list(tags)


def _record(row: sqlite3.Row) -> Record:
    return Record(
        row["id"], row["key"], row["text"], json.loads(row["tags"]), row["created_at"], row["updated_at"]
    )
