"""Events on their way to one sink or notifier: a bounded queue, batches, and the same again after a failure.

The queue is filled by whoever publishes and never waits: when it is full the oldest event goes, and is
counted. What a plugin has not taken when the daemon ends is not kept; the journal has it.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.events import EventFilter, EventSink, GiveUp, Notice, Notifier, TryLater
from orchestra_supervisor.plugin_api.plugin import Plugin

__all__ = ["NOTICE_EVENTS", "QUEUE_EVENTS", "EventFeed", "feeds_of"]

QUEUE_EVENTS = 1_000
"""Events that wait for one sink or notifier; when it is full the oldest goes."""
BATCH_EVENTS = 100
"""Events that a sink gets at a time."""
NOTICE_EVENTS = 20
"""Events that a notice shows; of more, the newest."""
ATTEMPTS = 20
"""Times that one batch may fail; with the suspensions between, more than an hour."""
RETRY_PAUSE = 1.0
"""Seconds before a batch that failed is given again, where the plugin is not suspended for longer."""


class EventFeed:
    """Feeds one taker of one plugin.

    Args:
        plugin: Whose it is.
        what: The taker, for messages.
        give: Gives a batch and the number of events held back before it.
        wanted: Which events.
        shows: Events of one batch at most.
        pause: Seconds between two batches at least; what is over `shows` then is held back, not sent later.
    """

    def __init__(
        self,
        plugin: Plugin,
        what: str,
        give: Callable[[tuple[Event, ...], int], Awaitable[None]],
        *,
        wanted: EventFilter | None = None,
        shows: int = BATCH_EVENTS,
        pause: float = 0.0,
    ) -> None:
        self._plugin = plugin
        self._what = what
        self._give = give
        self._wanted = wanted
        self._shows = shows
        self._pause = pause
        self._queue: deque[Event] = deque()
        self._lost = 0
        self._filled = anyio.Event()
        self._idle = anyio.Event()
        self._idle.set()
        self._hurry = anyio.Event()

    def put(self, event: Event) -> None:
        """Take an event. Never waits."""
        if event.data.get("plugin") == self._plugin.name:
            return  # what it failed at is not told to itself
        if self._wanted is not None and not self._wanted.wants(event):
            return
        if len(self._queue) >= QUEUE_EVENTS:
            self._queue.popleft()
            self._lost += 1
            self._plugin.dropped += 1
        self._queue.append(event)
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._filled.set()

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            while self._queue:
                await self._deliver(*self._next())
                with anyio.move_on_after(self._pause):
                    await self._hurry.wait()
            self._idle.set()

    async def drain(self) -> None:
        """Wait until all that is queued has been taken, without the pauses between notices."""
        self._hurry.set()
        await self._idle.wait()

    def _next(self) -> tuple[tuple[Event, ...], int]:
        """Take a batch off the queue; a notifier's is the newest of all, and the number of the others."""
        if self._wanted is None:
            batch = tuple(self._queue.popleft() for _ in range(min(self._shows, len(self._queue))))
            return batch, 0
        events = tuple(self._queue)
        self._queue.clear()
        held_back, self._lost = self._lost + max(0, len(events) - self._shows), 0
        return events[-self._shows :], held_back

    async def _deliver(self, batch: tuple[Event, ...], held_back: int) -> None:
        failures = 0
        while failures < ATTEMPTS:
            try:
                await self._give(batch, held_back)
            except TryLater as later:
                await anyio.sleep(later.seconds)
            except GiveUp:
                break
            except PluginError:
                failures += 1
                await self._recover()
            else:
                return
        self._plugin.dropped += len(batch)
        self._plugin.log.warning(
            "%s: %d events given up", self._what, len(batch), extra={"event": "plugin.dropped"}
        )

    async def _recover(self) -> None:
        until = self._plugin.standing.suspended_until or 0.0
        await anyio.sleep(max(RETRY_PAUSE, until - anyio.current_time()))


def feeds_of(plugin: Plugin) -> list[EventFeed]:
    """Return a feed for each sink and notifier of a plugin."""
    sinks = [
        EventFeed(plugin, f"event sink {name}", partial(_take, plugin, f"event sink {name}", sink))
        for name, sink in plugin.offers.event_sinks.items()
    ]
    notifiers = [
        EventFeed(
            plugin,
            f"notifier {name}",
            partial(_notify, plugin, f"notifier {name}", notifier),
            wanted=wanted,
            shows=NOTICE_EVENTS,
            pause=wanted.min_interval,
        )
        for name, (notifier, wanted) in plugin.offers.notifiers.items()
    ]
    return [*sinks, *notifiers]


async def _take(plugin: Plugin, what: str, sink: EventSink, batch: tuple[Event, ...], _: int) -> None:
    await plugin.call(what, sink.take, batch)


async def _notify(
    plugin: Plugin, what: str, notifier: Notifier, batch: tuple[Event, ...], held_back: int
) -> None:
    await plugin.call(what, notifier.notify, Notice(batch, held_back))
