from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from orchestra_supervisor.engine.bus import SUBSCRIBER_BUFFER, EventBus
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.model.events import Event
from tests.unit.engine.desk import VirtualClock

pytestmark = pytest.mark.anyio


def wants_all(event: Event) -> bool:
    return bool(event.seq)


@asynccontextmanager
async def a_bus() -> AsyncGenerator[tuple[EventBus, MemoryJournal]]:
    journal = MemoryJournal()
    bus = EventBus(journal, VirtualClock())
    yield bus, journal
    bus.publish("test.over", "whoever has left is let go of")
    assert bus.listeners == 0


async def test_an_event_is_numbered_journalled_and_handed_to_who_wants_it() -> None:
    async with a_bus() as (bus, journal):
        with bus.subscribe(wants_all) as everything, bus.subscribe(lambda one: one.service == "db") as of_db:
            first = bus.publish("service.ready", "ready", service="web", run="web-1", data={"pid": 1})
            second = bus.publish("service.ready", "ready", service="db")
            assert (first.seq, second.seq, journal.last_seq()) == (1, 2, 2)
            assert first.at_wall == 1_000_000.0 + anyio.current_time()
            assert [await everything.receive(), await everything.receive()] == [first, second]
            assert await of_db.receive() == second
            with pytest.raises(anyio.WouldBlock):
                of_db.receive_nowait()


async def test_a_listener_that_lags_too_far_is_cut_off_and_nobody_else_is() -> None:
    async with a_bus() as (bus, journal):
        with bus.subscribe(wants_all) as slow, bus.subscribe(wants_all) as quick:
            for number in range(SUBSCRIBER_BUFFER + 5):
                bus.publish("service.ready", "ready")
                assert (await quick.receive()).seq == number + 1
            seen = [event.seq async for event in slow]
        assert seen == list(range(1, SUBSCRIBER_BUFFER + 1)), "what it has is in order and without a gap"
        assert journal.last_seq() == SUBSCRIBER_BUFFER + 5, "the rest is in the journal"


async def test_a_listener_that_has_gone_is_forgotten() -> None:
    async with a_bus() as (bus, _):
        stream = bus.subscribe(lambda _: False)
        stream.close()
        bus.publish("service.ready", "ready")
        with bus.subscribe(wants_all) as other:
            bus.publish("service.ready", "ready")
            assert (await other.receive()).seq == 2


async def test_who_follows_is_told_at_once_and_for_the_time_of_the_block_alone() -> None:
    told: list[str] = []
    async with a_bus() as (bus, _):
        with bus.followed_by(lambda event: told.append(event.kind)):
            bus.publish("one", "")
            assert told == ["one"]
            assert bus.listeners == 0
        bus.publish("two", "")
        assert told == ["one"]
