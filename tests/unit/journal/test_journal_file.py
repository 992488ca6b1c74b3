"""What only a file can do: outlive us, be damaged, be full, be someone else's."""

# pyright: reportPrivateUsage=false
# (damage and a full disk are made on the journal's own connection)
# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - a test may block its own loop

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.journal import journal as journal_module
from orchestra_supervisor.journal import store as store_module
from orchestra_supervisor.journal.backlog import EVENT_LIMIT
from orchestra_supervisor.journal.journal import Journal
from orchestra_supervisor.journal.records import EventQuery, Hold, RunRow
from orchestra_supervisor.journal.store import DamagedFile, Store, set_aside
from orchestra_supervisor.model.errors import JournalError
from orchestra_supervisor.model.events import Event

pytestmark = pytest.mark.anyio

HOLD = Hold("web", 1000.0, "uid 0", "by hand")
RUN = RunRow("web-0000000000aa", "web", 4711, 99, "boot", 1000.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def event(kind: str = "service.ready", message: str = "ready", **data: object) -> Event:
    return Event(kind, message, 1000.0, service="web", data={**data})


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.01)


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


async def test_everything_is_there_again_after_reopening(path: Path) -> None:
    async with Journal.open(path, now_wall=1000.0) as journal:
        kept = journal.record_nowait(event(port=8005, deep={"list": [1, None, "ü"]}))
        await journal.set_hold(HOLD)
        journal.run_started(RUN)
        journal.set_plan("nightly", 900.5)
        journal.set_plan("hourly", 900.5)
    async with Journal.open(path, now_wall=2000.0) as journal:
        assert journal.plans() == {"nightly": 900.5, "hourly": 900.5}
        journal.set_plan("hourly", None)
        assert await journal.events(EventQuery()) == [kept]
        assert journal.holds() == {"web": HOLD}
        assert journal.open_runs() == [RUN]
        assert journal.record_nowait(event()).seq > kept.seq
        journal.run_ended(RUN.run, 2001.0, "exit code 3")
        await journal.clear_hold("web")
    async with Journal.open(path, now_wall=3000.0) as journal:
        assert journal.plans() == {"nightly": 900.5}
        assert journal.open_runs() == []
        assert journal.holds() == {}
    assert rows(path, "SELECT ended_wall, exit FROM runs") == [(2001.0, "exit code 3")]


async def test_others_cannot_read_it(path: Path) -> None:
    old = os.umask(0)
    try:
        async with Journal.open(path, now_wall=1000.0) as journal:
            await journal.record(event())
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes["journal.sqlite3"] == 0o600
    assert set(modes.values()) == {0o600}


async def test_audit_and_holds_are_on_disk_when_the_wait_is_over(path: Path) -> None:
    async with Journal.open(path, now_wall=1000.0) as journal:
        with anyio.fail_after(5):
            await journal.record(event("control.stop", "stop by hand"))
            assert rows(path, "SELECT kind FROM events") == [("control.stop",)]
            await journal.set_hold(HOLD)
            assert rows(path, "SELECT service, who FROM holds") == [("web", "uid 0")]
            seq = journal.record_nowait(event("service.exited")).seq
            await journal.written()
            assert rows(path, "SELECT max(seq) FROM events") == [(seq,)]


async def test_what_was_committed_outlives_a_kill(path: Path) -> None:
    program = """
        import sys, anyio
        from pathlib import Path
        from orchestra_supervisor.journal.journal import Journal
        from orchestra_supervisor.journal.records import Hold
        from orchestra_supervisor.model.events import Event

        async def main():
            async with Journal.open(Path(sys.argv[1]), now_wall=1.0) as journal:
                for number in range(500):
                    journal.record_nowait(Event("service.ready", str(number), 1.0))
                await journal.set_hold(Hold("web", 1.0, "me"))
                print("held", flush=True)
                await anyio.sleep_forever()
        anyio.run(main)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], stdout=subprocess.PIPE, encoding="utf-8"
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        child.send_signal(signal.SIGKILL)
    async with Journal.open(path, now_wall=2.0) as journal:
        assert "web" in journal.holds()
        assert len(await journal.events(EventQuery(limit=1000))) == 500
        # The killed one may have told so many more than it kept; their numbers are not given again.
        assert journal.record_nowait(event()).seq == 501 + EVENT_LIMIT


async def test_many_events_become_few_transactions(path: Path) -> None:
    async with Journal.open(path, now_wall=1000.0) as journal:
        commits = 0
        real = journal._store.write

        def counting(batch: object) -> None:
            nonlocal commits
            commits += 1
            real(batch)  # pyright: ignore[reportArgumentType] - passed through

        journal._store.write = counting  # pyright: ignore[reportAttributeAccessIssue] - counts, then writes
        with anyio.fail_after(5):
            for _ in range(50):
                journal.record_nowait(event())
                await anyio.lowlevel.checkpoint()
            await journal.record(event("control.stop"))
        assert commits <= 4
        assert rows(path, "SELECT count(*) FROM events") == [(51,)]


async def test_an_idle_journal_writes_nothing(path: Path) -> None:
    async with Journal.open(path, now_wall=1000.0) as journal:
        await journal.record(event("control.stop"))
        before = [(file.name, file.stat().st_mtime_ns) for file in sorted(path.parent.iterdir())]
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(3 * journal_module.COMMIT_INTERVAL)
        assert before == [(file.name, file.stat().st_mtime_ns) for file in sorted(path.parent.iterdir())]


async def test_only_the_newest_events_are_kept(path: Path) -> None:
    async with Journal.open(path, now_wall=1000.0, keep=1000) as journal:
        for _ in range(30):
            for _ in range(100):
                journal.record_nowait(event())
            await journal.record(event("control.stop"))
        last = journal.last_seq()
        first = (await journal.events(EventQuery(limit=1, newest=False)))[0].seq
    assert 1000 <= last - first + 1 <= 1000 + 2 * 101


async def test_fewer_are_kept_as_soon_as_that_is_asked_for(path: Path) -> None:
    async with Journal.open(path, now_wall=1000.0) as journal:
        for _ in range(1_500):
            journal.record_nowait(event())
        await journal.record(event("control.stop"))
        journal.keep(1000)
        for _ in range(101):
            journal.record_nowait(event())
        await journal.record(event("control.stop"))
        first = (await journal.events(EventQuery(limit=1, newest=False)))[0].seq
        assert journal.last_seq() - first + 1 == 1000


async def test_events_that_cannot_be_json_or_utf8_are_kept_as_well_as_may_be(path: Path) -> None:
    async with Journal.open(path, now_wall=1000.0) as journal:
        journal.record_nowait(event(message="name \udcff.txt"))
        journal.record_nowait(event(value={1, 2}))
        journal.record_nowait(event(big="x" * 100_000))
        journal.record_nowait(event(message="m" * 100_000))
        loop: dict[str, object] = {}
        loop["self"] = loop
        journal.record_nowait(event(loop=loop))
        await journal.record(event("control.stop", "stop"))
        texts = rows(path, "SELECT message, data FROM events ORDER BY seq")
    assert texts[0][0] == "name \\udcff.txt"
    assert json.loads(str(texts[1][1])) == {"value": "{1, 2}"}
    assert "truncated" in json.loads(str(texts[2][1]))
    assert len(str(texts[3][0])) == 8192
    assert "unreadable" in json.loads(str(texts[4][1]))


@pytest.mark.parametrize(
    "content",
    [b"this is no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000, os.urandom(20_000)],
    ids=["text", "header only", "noise"],
)
async def test_a_damaged_file_is_set_aside_and_a_fresh_one_begun(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    told: list[Event] = []
    async with Journal.open(path, now_wall=1234.5, on_problem=told.append) as journal:
        assert [found.kind for found in await journal.events(EventQuery())] == ["journal.damaged"]
        assert journal.record_nowait(event()).seq > 1_234_500
    assert [found.kind for found in told] == ["journal.damaged"]
    assert told[0].at_wall == 1234.5
    assert (path.parent / "journal.sqlite3.damaged-1234").read_bytes() == content


@pytest.mark.parametrize("content", [b"no database" * 100, b""], ids=["no database", "unwritable"])
def test_a_file_that_is_refused_is_not_kept_open(
    path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(content)
    if not content:

        def refuse(_: sqlite3.Connection) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(store_module, "migrate", refuse)
    with pytest.raises((DamagedFile, JournalError)) as caught:
        Store(path, 1000).open()
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert path not in links, f"open while {caught.value!r} is held"


async def test_another_programs_database_is_set_aside_untouched(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (thing)")
    other.execute("INSERT INTO precious VALUES (42)")
    other.commit()
    other.close()
    async with Journal.open(path, now_wall=7.0) as journal:
        assert journal.last_seq() == 7001
    assert rows(path.parent / "journal.sqlite3.damaged-7", "SELECT thing FROM precious") == [(42,)]


async def test_damage_under_a_running_daemon_loses_neither_holds_nor_runs(path: Path) -> None:
    told: list[Event] = []
    async with Journal.open(path, now_wall=1000.0, on_problem=told.append) as journal:
        await journal.set_hold(HOLD)
        journal.run_started(RUN)
        for _ in range(3000):
            journal.record_nowait(event(message="m" * 200))
        await journal.record(event("control.stop"))
        checkpoint = sqlite3.connect(path)
        checkpoint.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        checkpoint.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        journal._store._writer.execute("PRAGMA shrink_memory")  # pyright: ignore[reportOptionalMemberAccess] - no cached pages
        with anyio.fail_after(10):
            late = await journal.record(event("control.start", "after the damage"))
            assert late in await journal.events(EventQuery())
        assert "journal.damaged" in [found.kind for found in told]
        assert rows(path, "SELECT service FROM holds") == [("web",)]
    async with Journal.open(path, now_wall=2000.0) as journal:
        assert journal.holds() == {"web": HOLD}
        assert journal.open_runs() == [RUN]
        assert journal.last_seq() >= late.seq
    assert len(list(path.parent.glob("journal.sqlite3.damaged-*"))) >= 1


async def test_damage_that_a_reader_meets_is_handled_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Journal.open(path, now_wall=1000.0) as journal:
        for _ in range(3000):
            journal.record_nowait(event(message="m" * 200))
        await journal.record(event("control.stop"))
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * (path.stat().st_size - 4096 * 40))
    monkeypatch.setattr(store_module, "CHECKED_BYTES", 0)  # as for a large file
    async with Journal.open(path, now_wall=2000.0) as journal:
        with anyio.fail_after(10):
            found = await journal.events(EventQuery(limit=5000))
        assert "journal.damaged" in [one.kind for one in found]


async def test_a_full_disk_stops_nothing_and_the_drops_are_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_CAP", 0.05)
    told: list[Event] = []
    async with Journal.open(path, now_wall=1000.0, on_problem=told.append) as journal:
        journal._backlog._event_limit = 50
        writer = journal._store._writer
        assert writer is not None
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")  # what a full disk looks like to SQLite
        with anyio.fail_after(10):
            with pytest.raises(JournalError, match="full"):
                await journal.record(event("control.stop", "x" * 8000))
        for number in range(200):
            journal.record_nowait(event(message=f"{number} " + "y" * 500))
        assert [one.kind for one in told] == ["journal.unwritable"]
        assert len(await journal.events(EventQuery(limit=1000))) == 51
        writer.execute("PRAGMA max_page_count = 100000")
        await until(lambda: "journal.dropped" in [one.kind for one in told])
        kinds = [one.kind for one in told]
        assert kinds == ["journal.unwritable", "journal.recovered", "journal.dropped"]
        assert told[-1].data["count"] == 200 + 1 - 50
        with anyio.fail_after(5):
            await journal.record(event("control.start"))
        stored = rows(path, "SELECT kind FROM events WHERE kind LIKE 'control.%' ORDER BY seq")
        assert stored == [("control.stop",), ("control.start",)]


async def test_a_file_at_its_size_limit_is_written_again_when_the_limit_goes(path: Path) -> None:
    program = """
        import resource, sys, anyio
        from pathlib import Path
        from orchestra_supervisor.journal import journal as module
        from orchestra_supervisor.journal.journal import Journal
        from orchestra_supervisor.model.errors import JournalError
        from orchestra_supervisor.model.events import Event

        module.RETRY_CAP = 0.05

        async def main():
            told = []
            async with Journal.open(Path(sys.argv[1]), now_wall=1.0, on_problem=told.append) as journal:
                soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
                try:
                    for number in range(500):
                        await journal.record(Event("control.stop", "x" * 1000, 1.0))
                except JournalError as error:
                    print("refused", error.hint != "")
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                with anyio.fail_after(10):
                    while told[-1].kind != "journal.recovered":
                        await anyio.sleep(0.01)
                print([event.kind for event in told], number + 1)
        anyio.run(main)
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)],
        capture_output=True, encoding="utf-8", timeout=30, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    refused, kinds = child.stdout.splitlines()
    assert refused == "refused True"
    assert kinds.startswith("['journal.unwritable', 'journal.recovered']")
    written = int(kinds.rpartition(" ")[2])
    assert rows(path, "SELECT count(*) FROM events WHERE kind = 'control.stop'") == [(written,)]


@pytest.mark.parametrize("where", ["/proc/self/journal.sqlite3", "/nonexistent/folder/journal.sqlite3"])
async def test_a_place_that_takes_no_file_is_refused_with_a_hint(where: str) -> None:
    with pytest.raises(JournalError) as caught:
        async with Journal.open(Path(where), now_wall=1.0):
            pytest.fail("it opened")
    assert where in caught.value.message
    assert caught.value.hint


async def test_a_directory_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalError):
        async with Journal.open(path, now_wall=1.0):
            pytest.fail("it opened")


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    async with Journal.open(path, now_wall=1.0):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="99"):
        async with Journal.open(path, now_wall=1.0):
            pytest.fail("it opened")
    assert [file.name for file in path.parent.iterdir()] == ["journal.sqlite3"]


async def test_an_error_of_the_block_passes_unwrapped_and_nothing_is_lost(path: Path) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the block under test is the context manager's
        async with Journal.open(path, now_wall=1.0) as journal:
            journal.record_nowait(event())
            raise KeyError("ours")
    assert rows(path, "SELECT count(*) FROM events") == [(1,)]


async def test_cancellation_of_the_open_block_writes_what_waits(path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with Journal.open(path, now_wall=1.0) as journal:
            for _ in range(100):
                journal.record_nowait(event())
            scope.cancel()
            await anyio.sleep_forever()
    assert rows(path, "SELECT count(*) FROM events") == [(100,)]


def test_setting_aside_never_overwrites(tmp_path: Path) -> None:
    names: list[str] = []
    for content in ("first", "second", "third"):
        path = tmp_path / "journal.sqlite3"
        path.write_text(content, encoding="utf-8")
        Path(f"{path}-wal").write_text("wal of " + content, encoding="utf-8")
        moved = set_aside(path, 12.0)
        assert moved.read_text(encoding="utf-8") == content
        assert Path(f"{moved}-wal").read_text(encoding="utf-8") == "wal of " + content
        names.append(moved.name)
    assert len(set(names)) == 3
