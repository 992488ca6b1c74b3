"""The plugins in the daemon: events reach them, their events reach the journal, changed secrets are told."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.plugins import PluginDesk
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.model.spec import FleetSettings
from orchestra_supervisor.plugin_api.feed import QUEUE_EVENTS
from tests.unit.engine.desk import VirtualClock
from tests.unit.plugin_api.plugin_files import spec_of, write_plugin

pytestmark = pytest.mark.anyio

SINK = """
GOT = []
class Sink:
    name = "list"
    got = GOT
    async def take(self, events): GOT.extend(event.kind for event in events)
class Vault:
    scheme = "vault"
    async def resolve(self, names): return {}
    async def watch(self):
        yield ["db/pw"]

@hookimpl
def register_event_sinks(context): return [Sink()]
@hookimpl
def register_secret_providers(context): return [Vault()]
"""


@pytest.fixture
def anyio_backend() -> str:
    """A plugin has a thread: its time is the machine's."""
    return "asyncio"


@asynccontextmanager
async def desk_of(*specs: PluginSpec) -> AsyncGenerator[tuple[PluginDesk, EventBus, MemoryJournal]]:
    journal = MemoryJournal()
    bus = EventBus(journal, VirtualClock())
    desk = PluginDesk(bus)
    desk.on_changed = lambda scheme, names: bus.publish("test.changed", scheme, data={"names": list(names)})
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(desk.run, FleetSettings(plugins=specs))
            yield desk, bus, journal
            tasks.cancel_scope.cancel()


async def told(journal: MemoryJournal, kind: str) -> list[tuple[str, dict[str, object]]]:
    found = await journal.events(EventQuery(kind_prefix=kind))
    return [(event.message, event.data) for event in found]


def got_by(desk: PluginDesk) -> list[str]:
    return desk.host.working[0].offers.event_sinks["list"].got  # type: ignore[attr-defined]  # the test's own


async def test_every_event_reaches_a_sink_those_before_it_was_loaded_too(tmp_path: Path) -> None:
    async with desk_of(spec_of(write_plugin(tmp_path, SINK))) as (desk, bus, _):
        bus.publish("first", "")
        await desk.host.loaded.wait()
        bus.publish("second", "")
        while "second" not in got_by(desk):
            await anyio.sleep(0.001)
        assert [kind for kind in got_by(desk) if kind != "test.changed"] == ["first", "second"]


async def test_a_burst_costs_the_oldest_events_and_not_the_feed(tmp_path: Path) -> None:
    async with desk_of(spec_of(write_plugin(tmp_path, SINK))) as (desk, bus, _):
        await desk.host.loaded.wait()
        while "test.changed" not in got_by(desk):  # then nothing is on its way any more
            await anyio.sleep(0.001)
        for number in range(QUEUE_EVENTS + 10):
            bus.publish(f"burst.{number}", "")
        bus.publish("after", "")
        while "after" not in got_by(desk):
            await anyio.sleep(0.001)
        burst = [kind for kind in got_by(desk) if kind.startswith("burst.")]
        assert burst == [f"burst.{number}" for number in range(11, QUEUE_EVENTS + 10)]
        assert [report.dropped for report in desk.host.reports()] == [11]


async def test_what_a_provider_says_has_changed_is_passed_on(tmp_path: Path) -> None:
    async with desk_of(spec_of(write_plugin(tmp_path, SINK))) as (_, _, journal):
        while not (found := await told(journal, "test.changed")):
            await anyio.sleep(0.001)
        assert found == [("vault", {"names": ["db/pw"]})]


async def test_a_plugin_that_cannot_be_loaded_is_in_the_journal(tmp_path: Path) -> None:
    async with desk_of(spec_of(tmp_path / "none.py")) as (desk, _, journal):
        await desk.host.loaded.wait()
        [(message, data)] = await told(journal, "plugin.failed")
        assert "plugin none: not loaded" in message
        assert data == {"plugin": "none"}
