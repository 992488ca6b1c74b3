"""The history of figures: samples, means, bounds."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.journal import figures as figures_module
from orchestra_supervisor.journal.backlog import FIGURE_LIMIT, Backlog
from orchestra_supervisor.journal.figures import MEANS_FOR, SAMPLES_FOR, read_figures, write_figures
from orchestra_supervisor.journal.journal import Journal
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.journal.records import AnyJournal
from orchestra_supervisor.journal.schema import _MIGRATIONS, migrate  # pyright: ignore[reportPrivateUsage]  # the first version, as it was
from orchestra_supervisor.model.figures import FigureQuery, FigureRow, Figures

BEGAN = 1_700_000_040.0  # a full minute
DAY = 86_400


def row(at: float, name: str = "web", cpu: float | None = 50.0, memory: int = 1_000) -> FigureRow:
    return FigureRow(name, Figures(BEGAN + at, cpu, memory, "pss", 2, 3, 4, 5, 6))


@pytest.fixture
def table() -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        yield connection


def times(connection: sqlite3.Connection, since: float = 0, name: str = "web") -> list[float]:
    found = read_figures(connection, FigureQuery(BEGAN + since, name))
    return [one.at - BEGAN for one in found.get(name, [])]


def grains(connection: sqlite3.Connection) -> dict[int, int]:
    return dict(connection.execute("SELECT grain, count(*) FROM figures GROUP BY grain").fetchall())


def test_what_was_written_is_read_as_it_was(table: sqlite3.Connection) -> None:
    rows = [row(0), row(0, "db", None), row(10)]
    write_figures(table, rows)
    assert read_figures(table, FigureQuery()) == {
        "web": [rows[0].figures, rows[2].figures],
        "db": [rows[1].figures],
    }
    assert times(table, since=5) == [10]
    assert read_figures(table, FigureQuery(limit=1)) == {"web": [rows[2].figures]}, "the newest"


def test_after_an_hour_a_minute_is_one_mean(table: sqlite3.Connection) -> None:
    for at in range(0, 2 * 3_600 + 60, 10):
        write_figures(table, [row(at, cpu=100.0 if at % 60 < 30 else 0.0, memory=at)])
    assert grains(table) == {0: int(SAMPLES_FOR) // 10 + 6, 60: 120}, "what is old goes once a minute"
    shown = times(table)
    assert shown[:3] == [0, 60, 120]
    assert shown[-3:] == [7_230, 7_240, 7_250]
    assert shown == sorted(set(shown))
    first = read_figures(table, FigureQuery(name="web"))["web"][0]
    assert (first.cpu, first.memory, first.memory_kind, first.threads) == (50.0, 25, "pss", 3)


def test_a_mean_is_rss_where_any_part_of_it_was_and_leaves_out_what_was_unknown(
    table: sqlite3.Connection,
) -> None:
    write_figures(table, [row(0, cpu=None)])
    other = Figures(BEGAN + 10, 30.0, 1, "rss", 1, 1, None, None, None)
    write_figures(table, [FigureRow("web", other)])
    write_figures(table, [row(60)])
    cpu, kind, fds = table.execute("SELECT cpu, memory_kind, fds FROM figures WHERE grain = 60").fetchone()
    assert (cpu, kind, fds) == (30.0, "rss", 4)


def test_minutes_from_before_a_pause_get_their_means_when_it_goes_on(table: sqlite3.Connection) -> None:
    write_figures(table, [row(0), row(10)])
    write_figures(table, [row(3 * 3_600)])
    assert times(table) == [0, 3 * 3_600]
    write_figures(table, [row(2 * DAY)])
    assert times(table) == [2 * DAY], f"nothing is older than {MEANS_FOR} s"


def test_the_bound_holds_however_many_services_there_are(
    table: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures_module, "ROWS_KEPT", 100)
    for minute in range(40):
        write_figures(table, [row(minute * 60, f"s{index:02d}") for index in range(20)])
    assert all(count <= 100 for count in grains(table).values())
    assert times(table, name="s00")[-1] == 39 * 60


def test_a_clock_that_is_set_back_does_no_harm(table: sqlite3.Connection) -> None:
    write_figures(table, [row(0), row(7_200)])
    for at in (60, 70, 120, 130):
        write_figures(table, [row(at)])
    assert 7_200 in times(table)
    assert times(table) == sorted(times(table))


def test_a_file_of_the_first_version_gets_the_table_and_keeps_its_events() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in _MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO events VALUES (7, 1.0, 'service.ready', 'web', '', 'ready', '{}')")
        migrate(connection)
        write_figures(connection, [row(0)])
        assert times(connection) == [0]
        assert connection.execute("SELECT seq FROM events").fetchall() == [(7,)]


def test_what_waits_has_a_bound_and_the_oldest_goes() -> None:
    backlog = Backlog()
    backlog.add_figures([row(index) for index in range(FIGURE_LIMIT + 5)])
    assert not backlog.is_empty
    batch = backlog.take()
    assert len(batch.figures) == FIGURE_LIMIT
    assert batch.figures[0].figures.at == BEGAN + 5
    backlog.add_figures([row(9_999)])
    backlog.put_back()
    again = backlog.take().figures
    assert (len(again), again[-1].figures.at) == (FIGURE_LIMIT, BEGAN + 9_999)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_figures_are_there_after_reopening_and_both_journals_say_the_same(
    kind: str, tmp_path: Path
) -> None:
    def wanted(found: dict[str, list[Figures]]) -> bool:
        return [one.at for one in found.get("web", [])] == [BEGAN, BEGAN + 10]

    async def until(journal: AnyJournal, holds: Callable[[dict[str, list[Figures]]], bool]) -> None:
        with anyio.fail_after(10):
            while not holds(await journal.figures(FigureQuery(name="web"))):
                await anyio.sleep(0.01)

    rows = [row(0), row(0, "db"), row(10)]
    if kind == "memory":
        memory = MemoryJournal()
        memory.add_figures(rows)
        await until(memory, wanted)
        return
    path = tmp_path / "journal.sqlite3"
    async with Journal.open(path, now_wall=BEGAN) as journal:
        journal.add_figures(rows)
        await until(journal, wanted)
    async with Journal.open(path, now_wall=BEGAN) as journal:
        await until(journal, wanted)
        assert await journal.figures(FigureQuery(since=BEGAN + 5)) == {"web": [rows[2].figures]}
