"""What the journal in SQLite and its twin in memory both promise."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.journal.journal import Journal
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.journal.records import AnyJournal, EventQuery, Hold, RunRow
from orchestra_supervisor.model.events import Event

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "memory"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[AnyJournal]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    async with Journal.open(tmp_path / "journal.sqlite3", now_wall=1000.0) as opened:
        yield opened


def event(kind: str = "service.ready", service: str = "web", at: float = 1000.0, **data: object) -> Event:
    return Event(kind, f"{service} {kind}", at, service=service, run=f"{service}-1", data={**data})


def run(service: str = "web", pid: int = 4711) -> RunRow:
    return RunRow(f"{service}-{pid:012x}", service, pid, 99, "boot", 1000.0)


async def test_an_event_has_its_seq_at_once_and_is_found_at_once(journal: AnyJournal) -> None:
    assert journal.last_seq() == 0
    first, second = journal.record_nowait(event(port=1)), journal.record_nowait(event())
    assert (first.seq, second.seq) == (1, 2)
    assert journal.last_seq() == 2
    assert await journal.events(EventQuery()) == [first, second]


async def test_waited_for_and_not_waited_for_events_share_one_order(journal: AnyJournal) -> None:
    with anyio.fail_after(5):
        seqs = [
            journal.record_nowait(event()).seq,
            (await journal.record(event("control.stop"))).seq,
            journal.record_nowait(event()).seq,
        ]
        assert seqs == [1, 2, 3]
        assert [found.seq for found in await journal.events(EventQuery())] == seqs


async def test_the_newest_or_the_first_are_given_in_ascending_order(journal: AnyJournal) -> None:
    for _ in range(20):
        journal.record_nowait(event())
    newest = await journal.events(EventQuery(limit=3))
    first = await journal.events(EventQuery(limit=3, newest=False))
    beyond = await journal.events(EventQuery(after=18))
    assert [found.seq for found in newest] == [18, 19, 20]
    assert [found.seq for found in first] == [1, 2, 3]
    assert [found.seq for found in beyond] == [19, 20]
    assert await journal.events(EventQuery(limit=0)) == []


async def test_events_are_found_by_service_and_by_the_beginning_of_their_kind(journal: AnyJournal) -> None:
    journal.record_nowait(event("service.ready", "web"))
    journal.record_nowait(event("service.exited", "db"))
    await journal.record(event("control.stop", "db"))
    journal.record_nowait(event("service_x.odd", "db"))
    by_service = await journal.events(EventQuery(service="db"))
    by_kind = await journal.events(EventQuery(kind_prefix="service."))
    by_both = await journal.events(EventQuery(service="db", kind_prefix="control"))
    none = await journal.events(EventQuery(kind_prefix="%"))
    assert [found.seq for found in by_service] == [2, 3, 4]
    assert [found.seq for found in by_kind] == [1, 2]
    assert [found.seq for found in by_both] == [3]
    assert none == []


async def test_a_hold_lasts_until_it_is_cleared(journal: AnyJournal) -> None:
    hold = Hold("web", 1000.0, "uid 1000", "maintenance")
    with anyio.fail_after(5):
        await journal.set_hold(hold)
        assert dict(journal.holds()) == {"web": hold}
        await journal.clear_hold("web")
        await journal.clear_hold("never-held")
    assert dict(journal.holds()) == {}


async def test_a_run_is_open_until_it_ends(journal: AnyJournal) -> None:
    journal.run_started(run(pid=1))
    journal.run_started(run(pid=2))
    journal.run_ended(run(pid=1).run, 1001.0, "exit code 0")
    journal.run_ended("unknown-000000000000", 1001.0, "exit code 0")
    assert journal.open_runs() == [run(pid=2)]


async def test_a_plan_is_where_it_was_last_until_it_is_forgotten(journal: AnyJournal) -> None:
    journal.set_plan("nightly", 1000.0)
    journal.set_plan("nightly", 2000.0)
    journal.set_plan("hourly", 3000.0)
    journal.set_plan("hourly", None)
    journal.set_plan("never-planned", None)
    assert dict(journal.plans()) == {"nightly": 2000.0}


async def test_what_is_returned_cannot_change_the_journal(journal: AnyJournal) -> None:
    await journal.set_hold(Hold("web", 1.0, "me"))
    dict(journal.holds()).clear()
    journal.open_runs().append(run())
    assert "web" in journal.holds()
    assert journal.open_runs() == []
