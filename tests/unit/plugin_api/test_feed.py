"""A feed on a virtual clock: batches, the same again after a failure, a bound, and notices that sum up."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
import trio.testing

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.plugin_api.events import EventFilter, GiveUp, TryLater
from orchestra_supervisor.plugin_api.feed import (
    ATTEMPTS,
    BATCH_EVENTS,
    NOTICE_EVENTS,
    QUEUE_EVENTS,
    EventFeed,
)
from orchestra_supervisor.plugin_api.loop import PluginLoop
from orchestra_supervisor.plugin_api.plugin import Plugin

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Trio on a clock that jumps to the next deadline."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def event(seq: int, kind: str = "service.failed", service: str = "web", plugin: str = "") -> Event:
    return Event(
        kind, f"event {seq}", float(seq), service, data={"plugin": plugin} if plugin else {}, seq=seq
    )


def a_plugin() -> Plugin:
    return Plugin(PluginSpec(source="/x.py"), "demo", PluginLoop("demo"))


class Taker:
    """Keeps what it is given and when, after a number of troubles."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.got: list[tuple[float, list[int], int]] = []
        self.tries: list[float] = []

    async def give(self, batch: tuple[Event, ...], held_back: int) -> None:
        self.tries.append(anyio.current_time())
        if self.troubles:
            raise self.troubles.pop(0)
        self.got.append((anyio.current_time(), [one.seq for one in batch], held_back))


@asynccontextmanager
async def fed(feed: EventFeed) -> AsyncGenerator[Callable[[], object]]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        yield anyio.wait_all_tasks_blocked
        tasks.cancel_scope.cancel()


async def test_a_sink_gets_every_event_in_order_in_batches() -> None:
    taker = Taker()
    feed = EventFeed(a_plugin(), "sink", taker.give)
    for seq in range(BATCH_EVENTS + 5):
        feed.put(event(seq, "any.kind"))
    async with fed(feed):
        await feed.drain()
    assert [len(seqs) for _, seqs, _ in taker.got] == [BATCH_EVENTS, 5]
    assert [seq for _, seqs, _ in taker.got for seq in seqs] == list(range(BATCH_EVENTS + 5))


async def test_when_the_queue_is_full_the_oldest_goes_and_is_counted() -> None:
    taker, plugin = Taker(), a_plugin()
    feed = EventFeed(plugin, "sink", taker.give)
    for seq in range(QUEUE_EVENTS + 7):
        feed.put(event(seq))
    async with fed(feed):
        await feed.drain()
    assert [seq for _, seqs, _ in taker.got for seq in seqs] == list(range(7, QUEUE_EVENTS + 7))
    assert plugin.dropped == 7


async def test_a_batch_that_failed_comes_again_whole_and_before_what_came_later() -> None:
    taker = Taker(PluginError("x"), PluginError("x"))
    feed = EventFeed(a_plugin(), "sink", taker.give)
    feed.put(event(1))
    async with fed(feed):
        await anyio.sleep(0.5)
        feed.put(event(2))
        await feed.drain()
    assert [seqs for _, seqs, _ in taker.got] == [[1], [2]]
    assert len(taker.tries) == 4


async def test_a_receiver_that_is_away_is_tried_when_it_asks_to_be_for_as_long_as_it_takes() -> None:
    taker = Taker(*[TryLater(30.0, "HTTP 503") for _ in range(3 * ATTEMPTS)])
    plugin = a_plugin()
    feed = EventFeed(plugin, "sink", taker.give)
    feed.put(event(1))
    began = anyio.current_time()
    async with fed(feed):
        await feed.drain()
    assert taker.got == [(began + 90.0 * ATTEMPTS, [1], 0)]
    assert plugin.dropped == 0


async def test_what_a_receiver_refuses_for_good_does_not_come_again_and_the_next_does() -> None:
    taker, plugin = Taker(GiveUp("HTTP 400")), a_plugin()
    feed = EventFeed(plugin, "sink", taker.give)
    feed.put(event(1))
    async with fed(feed):
        await feed.drain()
        feed.put(event(2))
        await feed.drain()
    assert [seqs for _, seqs, _ in taker.got] == [[2]]
    assert plugin.dropped == 1


async def test_a_batch_that_fails_for_ever_is_given_up_and_counted() -> None:
    taker, plugin = Taker(*[PluginError("x") for _ in range(ATTEMPTS)]), a_plugin()
    feed = EventFeed(plugin, "sink", taker.give)
    feed.put(event(1))
    async with fed(feed):
        await feed.drain()
        feed.put(event(2))
        await feed.drain()
    assert [seqs for _, seqs, _ in taker.got] == [[2]]
    assert plugin.dropped == 1


async def test_a_notifier_gets_what_it_wants_and_between_notices_the_rest_is_summed_up() -> None:
    taker = Taker()
    wanted = EventFilter(("service.*",), ("web*",), min_interval=60.0)
    feed = EventFeed(a_plugin(), "chat", taker.give, wanted=wanted, shows=NOTICE_EVENTS, pause=60.0)
    began = anyio.current_time()
    async with fed(feed) as settle:
        feed.put(event(1))
        feed.put(event(2, "fleet.ready"))
        feed.put(event(3, service="db"))
        await settle()
        for seq in range(10, 10 + NOTICE_EVENTS + 5):
            feed.put(event(seq, service="web2"))
        await anyio.sleep(61.0)
    assert taker.got == [
        (began, [1], 0),
        (began + 60.0, list(range(15, 15 + NOTICE_EVENTS)), 5),
    ]


async def test_what_overflowed_between_two_notices_is_in_the_sum() -> None:
    taker = Taker()
    wanted = EventFilter(("*",), min_interval=60.0)
    feed = EventFeed(a_plugin(), "chat", taker.give, wanted=wanted, shows=NOTICE_EVENTS, pause=60.0)
    for seq in range(QUEUE_EVENTS + 100):
        feed.put(event(seq))
    async with fed(feed):
        await feed.drain()
    assert [(len(seqs), held_back) for _, seqs, held_back in taker.got] == [
        (NOTICE_EVENTS, QUEUE_EVENTS + 100 - NOTICE_EVENTS)
    ]


async def test_at_the_end_the_pause_between_notices_is_not_waited_for() -> None:
    taker = Taker()
    feed = EventFeed(a_plugin(), "chat", taker.give, wanted=EventFilter(("*",)), shows=5, pause=3_600.0)
    began = anyio.current_time()
    async with fed(feed) as settle:
        feed.put(event(1))
        await settle()
        feed.put(event(2, "fleet.stopped"))
        await feed.drain()
    assert [seqs for _, seqs, _ in taker.got] == [[1], [2]]
    assert taker.got[-1][0] == began


async def test_what_a_plugin_failed_at_is_told_to_others_and_not_to_itself() -> None:
    taker = Taker()
    feed = EventFeed(a_plugin(), "sink", taker.give)
    feed.put(event(1, "plugin.failed", plugin="demo"))
    feed.put(event(2, "plugin.failed", plugin="other"))
    async with fed(feed):
        await feed.drain()
    assert [seqs for _, seqs, _ in taker.got] == [[2]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, EventFilter()),
        ({"on": "fleet.*"}, EventFilter(on=("fleet.*",))),
        (
            {"services": ["a", "b*"], "min_interval": "2m"},
            EventFilter(services=("a", "b*"), min_interval=120.0),
        ),
        ({"min_interval": 1.5}, EventFilter(min_interval=1.5)),
    ],
)
def test_a_filter_is_made_of_options(options: dict[str, object], expected: EventFilter) -> None:
    assert EventFilter.from_options(options) == expected  # type: ignore[arg-type]  # JSON


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": [1]}, "option `on`"),
        ({"services": [""]}, "option `services`"),
        ({"min_interval": "soon"}, "option `min_interval`"),
        ({"min_interval": "25h"}, "option `min_interval`"),
        ({"min_interval": True}, "option `min_interval`"),
    ],
)
def test_an_option_of_a_filter_that_is_wrong_is_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EventFilter.from_options(options)  # type: ignore[arg-type]  # JSON
