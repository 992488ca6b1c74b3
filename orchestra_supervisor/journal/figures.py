"""The table of figures: samples for an hour, minute means for a day, and never more than its bound.

Figures tell how things went; no decision depends on them. So a row that is lost is a gap in a curve, and
what waits for a full disk is dropped, oldest first, without a word.
"""

import sqlite3
from collections.abc import Sequence
from typing import Literal

from orchestra_supervisor.model.figures import FigureQuery, FigureRow, Figures

__all__ = ["MEANS_FOR", "MINUTE", "ROWS_KEPT", "SAMPLES_FOR", "read_figures", "write_figures"]

MINUTE = 60
"""Seconds that one mean stands for: the grain of its row. A sample has grain 0."""
SAMPLES_FOR = 3_600.0
"""Seconds for which samples are kept."""
MEANS_FOR = 86_400.0
"""Seconds for which means are kept."""
ROWS_KEPT = 500_000
"""Rows of each grain, however many services there are: some 40 MB each."""

_Row = tuple[
    float, str, float | None, int, Literal["pss", "rss"], int, int, int | None, int | None, int | None
]
_INSERT = "INSERT OR REPLACE INTO figures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FOLD = """
INSERT OR REPLACE INTO figures
SELECT :minute, CAST(at / :minute AS INTEGER) * :minute AS minute, name, avg(cpu),
       CAST(avg(memory) AS INTEGER), max(memory_kind),  -- rss where any was: rss comes after pss
       CAST(round(avg(processes)) AS INTEGER), CAST(round(avg(threads)) AS INTEGER),
       CAST(round(avg(fds)) AS INTEGER), max(read_bytes), max(write_bytes)
FROM figures WHERE grain = 0 AND at >= :begin AND at < :end GROUP BY minute, name
"""
_SELECT = """
SELECT at, name, cpu, memory, memory_kind, processes, threads, fds, read_bytes, write_bytes FROM figures
WHERE grain = :grain AND at >= :begin AND at < :end AND (:name = '' OR name = :name)
ORDER BY at DESC LIMIT :room
"""
# Named, since each is used more than once: some releases of Python 3.12 warn of numbers (?1) for a sequence.


def write_figures(connection: sqlite3.Connection, rows: Sequence[FigureRow]) -> None:
    """Write rows, and with the first of a minute also the means of the minutes before it.

    Args:
        connection: In a transaction.
        rows: In the order in which they were taken.

    Raises:
        sqlite3.Error: They were not written.
    """
    if not rows:
        return
    newest = max(row.figures.at for row in rows)
    minute = newest // MINUTE * MINUTE
    last = connection.execute("SELECT max(at) FROM figures WHERE grain = 0").fetchone()[0]
    connection.executemany(_INSERT, [_to_row(row) for row in rows])
    if last is not None and last >= minute:
        return
    mean = connection.execute("SELECT max(at) FROM figures WHERE grain = ?", (MINUTE,)).fetchone()[0]
    # From the last mean on, however long ago that was; where the clock was set back, of the last minute.
    begin = 0.0 if mean is None else mean if mean < minute else minute - MINUTE
    connection.execute(_FOLD, {"minute": MINUTE, "begin": begin, "end": minute})
    for grain, seconds in ((0, SAMPLES_FOR), (MINUTE, MEANS_FOR)):
        connection.execute("DELETE FROM figures WHERE grain = ? AND at < ?", (grain, newest - seconds))
        connection.execute(
            "DELETE FROM figures WHERE grain = :grain AND at <= "
            "(SELECT at FROM figures WHERE grain = :grain ORDER BY at DESC LIMIT 1 OFFSET :kept)",
            {"grain": grain, "kept": ROWS_KEPT},
        )


def read_figures(connection: sqlite3.Connection, query: FigureQuery) -> dict[str, list[Figures]]:
    """Return what is kept by name, ascending: means first, then samples from where those begin.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    first = connection.execute("SELECT min(at) FROM figures WHERE grain = 0").fetchone()[0]
    border = float("inf") if first is None else first // MINUTE * MINUTE
    found: list[_Row] = []
    for grain, begin, end in ((0, max(query.since, border), float("inf")), (MINUTE, query.since, border)):
        room = max(0, query.limit - len(found))
        wanted = {"grain": grain, "begin": begin, "end": end, "name": query.name, "room": room}
        found += connection.execute(_SELECT, wanted).fetchall()
    by_name: dict[str, list[Figures]] = {}
    for row in reversed(found):
        by_name.setdefault(row[1], []).append(Figures(row[0], *row[2:]))
    return by_name


def _to_row(row: FigureRow) -> tuple[int, float, str, *tuple[object, ...]]:
    one = row.figures
    return (
        0, one.at, row.name, one.cpu, one.memory, one.memory_kind, one.processes, one.threads, one.fds,
        one.read_bytes, one.write_bytes,
    )  # fmt: skip
