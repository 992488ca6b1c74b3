"""The process that speaks with event listeners: one thread, one turn after another, killed at any instant.

A turn takes what has come (pipes of listeners from the keeper, events of the daemon, output out of logs,
answers of listeners), gives what waits to who is ready, and keeps all that is known. What was not kept has
not happened: events are asked for anew from the last one that was kept, and a listener that was in the
middle of an exchange is started anew, so that an event is handled twice at most, and none is lost.
"""

import os
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.listeners.catalog import Happening
from orchestra_supervisor.listeners.clock import wall
from orchestra_supervisor.listeners.directory import Directory, parse_directory
from orchestra_supervisor.listeners.feed import EventFeed, FeedLost
from orchestra_supervisor.listeners.links import Links
from orchestra_supervisor.listeners.memory import Memory
from orchestra_supervisor.listeners.pools import Pools
from orchestra_supervisor.listeners.protocol import ListenerState
from orchestra_supervisor.listeners.scene import Scene, dump_scene, load_scene
from orchestra_supervisor.listeners.ticks import due_ticks, until_next
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message

__all__ = ["Listening", "say"]

Json = dict[str, object]

_RETRY = 0.05  # seconds between attempts to reach a daemon that is away
_SILENCE = (
    60.0  # seconds without a byte, of which the daemon sends some every 15 s, after which it is asked anew
)
_ANSWER = 5.0  # seconds for an answer of the daemon
_LOOK = 0.1  # seconds between looks at logs
_CLOSE_LOOK = 0.02  # likewise while something waits for them
_HOLD = 0.3  # seconds that the end of a process waits for its last output
_STARTS = 50  # newest starts of daemons that are looked at
_CHANGES = 200  # likewise changes of the fleet
_NEWS_OF_FLEET = frozenset({"config.reloaded", "fleet.changed", "daemon.started"})
_LOG_EVENTS = (
    "PROCESS_LOG_STDOUT",
    "PROCESS_LOG_STDERR",
    "PROCESS_COMMUNICATION_STDOUT",
    "PROCESS_COMMUNICATION_STDERR",
)


class Listening:
    """See the module.

    Args:
        control: Path of the control socket.
        channel: The socket on which the keeper hands over pipes.
        memory: What outlives this process.
    """

    def __init__(self, control: str, channel: socket.socket, memory: Memory) -> None:
        self._control = control
        self._client = ControlClient(control, timeout=_ANSWER, connect_wait=_ANSWER)
        self._selector = selectors.DefaultSelector()
        self._links = Links(self._selector, self._on_said)
        self._channel = Channel(channel)
        self._memory = memory
        self._doubted = set(memory.in_doubt())
        self._feed: EventFeed | None = None
        self._queue: deque[Json] = deque()
        self._fleet = 0.0
        self._scene = Scene(Pools("supervisor", say))
        self._is_dirty = True
        self._is_lost = False
        self._next_feed = self._next_look = self._last_byte = 0.0
        self._held_until: float | None = None
        self._unkept = ""

    def run(self) -> int:
        """Serve until the keeper closes the channel; return the exit status."""
        self._begin()
        self._selector.register(self._channel.fileno(), selectors.EVENT_READ, self._on_channel)
        while not self._is_lost:
            for key, events in self._selector.select(self._patience()):
                cast("Callable[[int], None]", key.data)(events)
            self._mind_feed()
            self._take_events()
            self._look_at_logs()
            self._tick()
            self._scene.pools.dispatch(self._scene.translator.states, self._write)
            self._keep()
        return 1

    # Beginning.

    def _begin(self) -> None:
        """Find out where to go on."""
        directory = self._directory()
        while directory is None:
            time.sleep(_RETRY)  # nothing else is to be done yet
            directory = self._directory()
        self._fleet = directory.fleet
        held = self._memory.load(directory.fleet)
        scene: Scene | None = None
        if held is not None:
            try:
                scene = load_scene(held, directory.identifier, say)
            except (KeyError, TypeError, ValueError) as error:
                say(f"what was kept cannot be read: {error!r}")
        self._scene = self._first(directory) if scene is None else scene
        self._configure(directory)
        self._scene.restore_sources()

    def _first(self, directory: Directory) -> Scene:
        """Return the scene of a fleet that has had no listeners so far."""
        scene = Scene(Pools(directory.identifier, say))
        starts = [row for row in self._events("daemon.started", _STARTS) if _data(row).get("fresh") is True]
        begun = _seq(starts[-1]) if starts else 0
        listeners = {entry.service for entry in directory.entries if entry.is_listener}
        changes = [row for row in self._events("fleet.changed", _CHANGES) if _seq(row) > begun]
        came = next((row for row in changes if listeners & _added(row)), None)
        if came is None and starts:
            scene.cursor = begun - 1
            return scene
        scene.cursor = directory.last if came is None else _seq(came) - 1
        added = set[str]() if came is None else _added(came)
        scene.pools.configure(directory.pools)
        for entry in directory.entries:
            if entry.service in added:
                continue
            scene.translator.learn(entry.service, entry.group, entry.process)
            known = scene.translator.processes[entry.service]
            known.state, known.pid, known.run, known.tries = entry.state, entry.pid, entry.run, entry.tries
            if entry.group not in scene.translator.groups:
                scene.translator.groups.append(entry.group)
                scene.pools.subscribe(entry.group)
        scene.sources.configure(directory.entries, is_wanted=scene.pools.is_wanted(*_LOG_EVENTS))
        scene.sources.join(
            {entry.service: (entry.run, entry.pid) for entry in directory.entries if entry.pid}
        )
        return scene

    # The daemon.

    def _directory(self) -> Directory | None:
        try:
            return parse_directory(self._client.request("GET", "/v1/listeners"))
        except ControlError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            say(f"the daemon's answer cannot be read: {error!r}")
            return None

    def _configure(self, directory: Directory) -> None:
        scene = self._scene
        scene.pools.identifier = directory.identifier
        scene.pools.configure(directory.pools)
        for entry in directory.entries:
            scene.translator.learn(entry.service, entry.group, entry.process)
        scene.sources.configure(directory.entries, is_wanted=scene.pools.is_wanted(*_LOG_EVENTS))
        for service in list(self._links.by_service):
            self._adopt(service)

    def _events(self, kind: str, limit: int) -> list[Json]:
        try:
            return rows(self._client.events(limit=limit, kind=kind), "events")
        except ControlError:
            return []

    def _mind_feed(self) -> None:
        now = time.monotonic()
        if self._feed is not None:
            if now > self._last_byte + _SILENCE:
                self._close_feed()
            return
        if now < self._next_feed:
            return
        self._next_feed = now + _RETRY
        try:
            self._rewind()
            self._feed = EventFeed(self._control, self._scene.cursor)
        except (OSError, ControlError):
            return
        self._last_byte = now
        self._selector.register(self._feed.fileno(), selectors.EVENT_READ, self._on_feed)

    def _rewind(self) -> None:
        """Go back to where a daemon that was killed had told of events which it did not come to keep.

        The next one gives their numbers to others: all that it has told is news, from its own start on.
        """
        scene, mark = self._scene, self._scene.mark
        if mark is None:
            return
        starts = rows(self._client.events(limit=_STARTS, kind="daemon.started"), "events")
        places = [(_seq(row), float(cast("float", row["at"]))) for row in starts]
        unseen = places[places.index(mark) + 1 :] if mark in places else places[-1:]
        if unseen and unseen[0][0] <= scene.cursor:
            scene.cursor = unseen[0][0] - 1

    def _on_feed(self, _events: int) -> None:
        if self._feed is None:
            return
        try:
            events = self._feed.read()
        except FeedLost:
            self._close_feed()
            return
        self._last_byte = time.monotonic()
        self._queue.extend(events)

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._selector.unregister(self._feed.fileno())
            self._feed.close()
            self._feed = None
        self._queue.clear()  # they come again

    def _take_events(self) -> None:
        while self._queue:
            event = self._queue[0]
            if _seq(event) > self._scene.cursor:
                if self._waits(event) or not self._knows_fleet(event):
                    return
                self._take(event)
            self._queue.popleft()

    def _waits(self, event: Json) -> bool:
        """Return whether the end of a process waits for its last output."""
        source = self._scene.sources.by_service.get(str(event.get("service", "")))
        if event.get("kind") != "service.exited" or source is None:
            return False
        now = time.monotonic()
        self._accept(source.read())
        if self._held_until is None:
            self._held_until = now + _HOLD
        if now < self._held_until and not source.is_through(str(event.get("run", ""))):
            return True
        self._held_until = None
        return False

    def _knows_fleet(self, event: Json) -> bool:
        """Learn what the fleet is now, where an event says that it is another; False: nobody answers."""
        if event.get("kind") not in _NEWS_OF_FLEET:
            return True
        directory = self._directory()
        if directory is None:
            self._close_feed()
            return False
        self._configure(directory)
        if event.get("kind") == "daemon.started" and _data(event).get("fresh") is not True:
            here = {entry.service for entry in directory.entries}
            gone = [service for service in self._scene.translator.processes if service not in here]
            for service in gone:  # let go of while nobody told
                self._accept(self._scene.translator.take({"kind": "service.removed", "service": service}))
            self._accept(
                self._scene.translator.take({"kind": "fleet.changed", "data": {"added": list(here)}})
            )
        return True

    def _take(self, event: Json) -> None:
        scene, kind = self._scene, event.get("kind")
        scene.cursor = _seq(event)
        self._is_dirty = True
        if kind == "daemon.started":
            scene.mark = (scene.cursor, float(cast("float", event["at"])))
        source = scene.sources.by_service.get(str(event.get("service", "")))
        if kind == "service.spawned" and source is not None:
            source.began(str(event.get("run", "")), int(cast("int", _data(event).get("pid", 0))))
        self._accept(scene.translator.take(event))

    def _accept(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            self._is_dirty = True
            self._scene.pools.accept(happening)

    # Logs and time.

    def _look_at_logs(self) -> None:
        now = time.monotonic()
        if self._scene.sources.by_service and now >= self._next_look:
            self._next_look = now + _LOOK
            self._accept(self._scene.sources.read())

    def _tick(self) -> None:
        if self._scene.pools.is_wanted("TICK_5", "TICK_60", "TICK_3600"):
            self._accept(due_ticks(self._scene.slices, wall()))

    def _patience(self) -> float | None:
        waits = [_SILENCE]
        now = time.monotonic()
        if self._feed is None:
            waits.append(self._next_feed - now)
        if self._queue:
            waits.append(_CLOSE_LOOK)
        if self._scene.sources.by_service:
            waits.append(self._next_look - now)
        if self._scene.pools.is_wanted("TICK_5", "TICK_60", "TICK_3600"):
            waits.append(until_next(wall()) + 0.001)
        return max(0.0, min(waits))

    # Listeners.

    def _on_channel(self, _events: int) -> None:
        try:
            messages = self._channel.on_readable()
        except ChannelClosed:
            self._is_lost = True
            return
        for message, descriptors in messages:
            self._take_message(message, descriptors)

    def _take_message(self, message: Message, descriptors: list[int]) -> None:
        slot, run = message.get("slot"), message.get("run")
        match message["type"]:
            case "stdio" if len(descriptors) == 2 and isinstance(slot, str) and isinstance(run, str):
                self._links.put(slot, run, *descriptors)
                self._adopt(slot)
                return
            case "stdio_end" if isinstance(slot, str):
                link = self._links.by_service.get(slot)
                if link is not None and link.run == run:
                    self._end(slot)
            case "held":
                for service in set(self._scene.pools.listeners) - set(self._links.by_service):
                    self._is_dirty = True
                    self._scene.pools.end(service)
            case _:
                pass  # of a newer keeper
        for descriptor in descriptors:
            os.close(descriptor)

    def _adopt(self, service: str) -> None:
        """Speak with a run, if it is that of a listener."""
        pools, link = self._scene.pools, self._links.by_service[service]
        is_listener = any(
            service == member for pool in pools.pools.values() for member, _ in pool.spec.members
        )
        if not is_listener or link.is_read:
            return
        self._is_dirty = True
        pools.begin(service, link.run)
        self._links.listen(service)
        if link.run in self._doubted:
            self._doubted.discard(link.run)
            pools.distrust(service)
            say(f"{service}: what it was told last is not known, it is started anew")
            self._restart(service)

    def _restart(self, service: str) -> None:
        try:
            self._client.restart(
                [service], wait="none", reason="it was being spoken with by one who was killed"
            )
        except ControlError as error:
            say(f"{service} cannot be started anew: {error.message}")

    def _on_said(self, service: str) -> None:
        listener = self._scene.pools.listeners.get(service)
        is_heard = listener is not None and listener.state is not ListenerState.UNKNOWN
        if is_heard and listener is not None:
            self._memory.doubt(listener.run)
        data = self._links.read(service)
        if data and is_heard:
            self._is_dirty = True
            self._scene.pools.heard(service, data)

    def _end(self, service: str) -> None:
        """A run is over, or its input is ended: hear what it said last, and let go of it."""
        self._is_dirty = True
        if self._links.by_service[service].is_read:
            while data := self._links.read(service):
                self._scene.pools.heard(service, data)
        self._scene.pools.end(service)
        self._links.drop(service)

    def _write(self, service: str, data: bytes) -> bool:
        self._memory.doubt(self._scene.pools.listeners[service].run)
        self._is_dirty = True
        return self._links.write(service, data)

    def _keep(self) -> None:
        if not self._is_dirty:
            return
        try:
            self._memory.keep(self._fleet, dump_scene(self._scene), still=self._links.half_told)
        except OSError as error:
            if self._unkept != str(error):
                say(f"what is known cannot be kept: {error}")
            self._unkept = str(error)
            return
        self._is_dirty = False
        self._unkept = ""


def say(text: str) -> None:
    """Say a line in the log of this process."""
    sys.stderr.write(f"orchestra listeners: {text}\n")
    sys.stderr.flush()


def _data(event: Json) -> Json:
    data = event.get("data")
    return cast("Json", data) if isinstance(data, dict) else {}


def _seq(event: Json) -> int:
    seq = event.get("seq")
    return seq if isinstance(seq, int) else 0


def _added(event: Json) -> set[str]:
    added = _data(event).get("added")
    return {str(one) for one in cast("list[object]", added)} if isinstance(added, list) else set()
