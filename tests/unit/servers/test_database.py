"""The SQLite file: migrations, one writer, a check that finds what is wrong."""

import sqlite3
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from orchestra_supervisor.servers.database import Database, DatabaseUnavailable
from orchestra_supervisor.servers.settings import ServerError

FIRST = ("CREATE TABLE notes (text TEXT NOT NULL)",)
SECOND = ("ALTER TABLE notes ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'",)


@pytest.fixture
def database(tmp_path: Path) -> Generator[Database]:
    with closing(Database(tmp_path / "x.sqlite3", [FIRST])) as opened:
        yield opened


def texts(database: Database) -> list[str]:
    return [row["text"] for row in database.read("SELECT text FROM notes ORDER BY rowid")]


def test_a_schema_is_brought_up_step_by_step_and_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    with closing(Database(path, [FIRST])) as old, old.write() as connection:
        connection.execute("INSERT INTO notes VALUES ('a')")
    with closing(Database(path, [FIRST, SECOND])) as new:
        assert (new.migrated_from, new.version) == (1, 2)
        assert [tuple(row) for row in new.read("SELECT * FROM notes")] == [("a", "calm")]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    Database(path, [FIRST]).close()
    with pytest.raises(ServerError, match="nonsense"):
        Database(path, [FIRST, (*SECOND, "nonsense")])
    with closing(Database(path, [FIRST])) as same:
        assert same.version == 1
        assert [row["name"] for row in same.read("PRAGMA table_info(notes)")] == ["text"]


def test_a_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "x.sqlite3", [FIRST, SECOND]).close()
    with pytest.raises(ServerError, match="schema 2, this program 1"):
        Database(tmp_path / "x.sqlite3", [FIRST])


def test_programs_that_begin_at_once_migrate_once(tmp_path: Path) -> None:
    def begin(_: int) -> Database:
        return Database(tmp_path / "x.sqlite3", [FIRST, SECOND])

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(begin, range(4)))
    assert sorted(database.migrated_from for database in opened) == [0, 2, 2, 2]
    for database in opened:
        database.close()


def test_the_file_is_for_its_owner_alone(database: Database) -> None:
    assert database.path.stat().st_mode & 0o777 == 0o600


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    def broken() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO notes VALUES ('half')")
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert texts(database) == []
    with database.write() as connection:
        connection.execute("INSERT INTO notes VALUES ('whole')")
    assert texts(database) == ["whole"]


def test_the_reader_cannot_write(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError):
        database.read("INSERT INTO notes VALUES ('x')")


def test_readers_go_on_while_a_write_is_open(database: Database) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO notes VALUES ('pending')")
        assert texts(database) == []
    assert texts(database) == ["pending"]


def test_writers_of_many_threads_all_get_their_turn(database: Database) -> None:
    def work(number: int) -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO notes VALUES (?)", (str(number),))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(50)))
    assert sorted(texts(database), key=int) == [str(number) for number in range(50)]


def test_the_check_passes_and_changes_nothing(database: Database) -> None:
    database.check()
    assert database.version == 1


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_the_check_finds_a_file_that_was_taken_away(database: Database, how: str) -> None:
    database.path.rename(database.path.with_suffix(".aside"))
    if how == "replaced":
        database.path.touch()
    with pytest.raises(DatabaseUnavailable, match="removed or replaced"):
        database.check()


def test_the_check_finds_a_file_that_another_process_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestra_supervisor.servers.database._BUSY", 0.05)
    path = tmp_path / "x.sqlite3"
    with closing(Database(path, [FIRST])) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnavailable, match="does not take a write"):
                database.check()
        database.check()


def test_the_check_finds_a_write_that_does_not_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestra_supervisor.servers.database._BUSY", 0.05)
    results: list[str] = []

    def check() -> None:
        try:
            database.check()
        except DatabaseUnavailable as error:
            results.append(str(error))

    with database.write():
        thread = threading.Thread(target=check)
        thread.start()
        thread.join(10)
    assert len(results) == 1
    assert "0.05 s" in results[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_a_database_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "full.sqlite3").symlink_to("/dev/full")
    with pytest.raises(ServerError, match="cannot open the database"):
        Database(tmp_path / "full.sqlite3", [FIRST])
