"""Events in the systemd journal; the journal is a socket of the test's own."""

import socket
import struct
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.surfaces.journald_feed import MESSAGE_IDS, entry_of, feed_journald
from tests.unit.engine.desk import VirtualClock

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


class Journal:
    """Receives entries and reads them by the protocol's words."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    async def entry(self) -> dict[str, str]:
        with anyio.fail_after(5):
            await anyio.wait_readable(self.socket)
        data = self.socket.recv(1 << 20)
        fields: dict[str, str] = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, sign, value = line.partition(b"=")
            if not sign:
                (size,) = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + size], data[8 + size + 1 :]
            fields[name.decode()] = value.decode()
        return fields


@dataclass
class Feed:
    """A feed that runs, and what it had to say."""

    bus: EventBus
    said: list[str] = field(default_factory=list)
    is_wanted: bool = True

    async def until_said(self, number: int) -> None:
        with anyio.fail_after(5):
            while len(self.said) < number:
                await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def feeding(path: Path) -> AsyncGenerator[Feed]:
    feed = Feed(EventBus(MemoryJournal(), VirtualClock()))

    async def run() -> None:
        await feed_journald(
            feed.bus, is_wanted=lambda: feed.is_wanted, home="/h", say=feed.said.append, path=str(path)
        )

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            with anyio.fail_after(5):
                while not feed.bus.listeners:
                    await anyio.lowlevel.checkpoint()
            yield feed
            tasks.cancel_scope.cancel()
    finally:
        feed.bus.publish("feed.cleared", "listeners that have left are let go of")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # a real socket, and the loop on which the daemon runs


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "journal")
    yield one
    one.socket.close()


async def test_an_event_arrives_with_its_fields(journal: Journal, tmp_path: Path) -> None:
    async with feeding(tmp_path / "journal") as feed:
        message = "exit code 1\nat start"
        feed.bus.publish("service.failed", message, service="web", run="web-1", data={"code": 1})
        assert await journal.entry() == {
            "MESSAGE": "web: failed: exit code 1\nat start",
            "MESSAGE_ID": MESSAGE_IDS["service.failed"],
            "PRIORITY": "3",
            "SYSLOG_IDENTIFIER": "orchestra",
            "ORCHESTRA_EVENT": "service.failed",
            "ORCHESTRA_SERVICE": "web",
            "ORCHESTRA_RUN": "web-1",
            "ORCHESTRA_DATA": '{"code": 1}',
            "ORCHESTRA_SEQ": "1",
            "ORCHESTRA_HOME": "/h",
        }
        assert not feed.said


async def test_what_is_switched_off_by_a_reload_is_sent_no_more(journal: Journal, tmp_path: Path) -> None:
    async with feeding(tmp_path / "journal") as feed:
        feed.is_wanted = False
        feed.bus.publish("service.ready", "unheard", service="web")
        feed.is_wanted = True
        feed.bus.publish("fleet.ready", "1 of 1 services are ready")
        assert (await journal.entry())["MESSAGE"] == "1 of 1 services are ready"


async def test_a_journal_that_is_away_is_said_once_and_so_is_its_return(tmp_path: Path) -> None:
    async with feeding(tmp_path / "journal") as feed:
        for number in range(3):
            feed.bus.publish("service.ready", str(number))
        await feed.until_said(1)
        await anyio.wait_all_tasks_blocked()
        later = Journal(tmp_path / "journal")
        feed.bus.publish("service.ready", "back")
        assert (await later.entry())["MESSAGE"] == "back"
        await feed.until_said(2)
        later.socket.close()
    assert "do not reach the journal" in feed.said[0]
    assert feed.said[1] == "events reach the journal again; 3 did not"


async def test_an_entry_that_is_too_large_arrives_without_its_data(journal: Journal, tmp_path: Path) -> None:
    async with feeding(tmp_path / "journal") as feed:
        feed.bus.publish("config.reloaded", "large", data={"x": "y" * 1_000_000})
        entry = await journal.entry()
    assert entry["MESSAGE"] == "large"
    assert "ORCHESTRA_DATA" not in entry


@pytest.mark.parametrize(
    ("kind", "priority"),
    [
        ("service.ready", "6"),
        ("service.backoff", "4"),
        ("fleet.failed", "3"),
        ("fleet.ready", "5"),
        ("log.dropped", "4"),
        ("control.stop", "6"),
    ],
)
def test_what_needs_somebody_has_a_priority_that_says_so(kind: str, priority: str) -> None:
    assert entry_of(Event(kind, "x", 0.0), "/h")["PRIORITY"] == priority


def test_message_ids_are_distinct_and_documented() -> None:
    page = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    for kind, number in MESSAGE_IDS.items():
        assert f"| `{kind}` | `{number}` |" in page
