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
from collections.abc import Callable, Iterable
from typing import cast

from orchestra_supervisor.control_client import ControlError
from orchestra_supervisor.listeners.catalog import Happening
from orchestra_supervisor.listeners.clock import wall
from orchestra_supervisor.listeners.directory import Directory
from orchestra_supervisor.listeners.links import Links
from orchestra_supervisor.listeners.memory import Memory
from orchestra_supervisor.listeners.news import LAST_WORDS, STARTED, News, added_by, data_of, seq_of
from orchestra_supervisor.listeners.pools import Pools
from orchestra_supervisor.listeners.protocol import ListenerState
from orchestra_supervisor.listeners.scene import Scene, dump_scene, load_scene
from orchestra_supervisor.listeners.ticks import due_ticks, until_next
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message

__all__ = ["Listening", "say"]

Json = dict[str, object]

_LOOK = 0.1  # seconds between looks at logs
_CLOSE_LOOK = 0.02  # likewise while something waits for them
_PROGRESS = 1.0  # seconds within which a pool that is not stuck gives somebody an event
_HOLD = 0.3  # seconds that the end of a process waits for its last output
_NEWS_OF_FLEET = frozenset({"config.reloaded", "fleet.changed", STARTED})
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
        self._selector = selectors.DefaultSelector()
        self._news = News(control, self._selector, say)
        self._links = Links(self._selector, self._on_said)
        self._channel = Channel(channel)
        self._memory = memory
        self._doubted = set(memory.in_doubt())
        self._fleet = 0.0
        self._scene = Scene(Pools("supervisor", say))
        self._is_dirty = True
        self._is_lost = False
        self._took_over: Directory | None = None
        """The fleet as a daemon had it that took it over."""
        self._next_look = 0.0
        self._held_until: float | None = None
        self._full_since: dict[str, float] = {}
        """By pool that has no room: since when nobody of it has got anything."""
        self._unkept = ""
        self._last_words = 0
        """Number of the event that asks for an answer once all before it was told, 0: none does."""

    def run(self) -> int:
        """Serve until the keeper closes the channel; return the exit status."""
        self._begin()
        self._selector.register(self._channel.fileno(), selectors.EVENT_READ, self._on_channel)
        while not self._is_lost:
            for key, events in self._selector.select(self._patience()):
                cast("Callable[[int], None]", key.data)(events)
            self._scene.cursor = self._news.mind(self._scene.cursor, self._scene.mark)
            self._take_events()
            self._look_at_logs()
            self._tick()
            for name in self._scene.pools.dispatch(self._scene.translator.states, self._write):
                self._full_since.pop(name, None)
            self._keep()
            if self._last_words and self._scene.pools.is_settled(self._scene.translator.states):
                self._news.told(self._last_words)
                self._last_words = 0
        return 1

    # Beginning.

    def _begin(self) -> None:
        """Find out where to go on."""
        scene: Scene | None = None
        while scene is None:
            directory = self._news.wait_directory()
            self._fleet = directory.fleet
            try:
                scene = self._kept(directory) or self._first(directory)
            except ControlError as error:  # the daemon is being replaced: the next one says all of it
                say(f"the fleet cannot be asked about: {error.message}; trying again")
                time.sleep(_LOOK)
                continue
            self._scene = scene
            self._configure(directory)
            scene.restore_sources()

    def _kept(self, directory: Directory) -> Scene | None:
        """Return the scene that was kept for this fleet, where there is one that can be read."""
        held = self._memory.load(directory.fleet)
        if held is None:
            return None
        try:
            return load_scene(held, directory.identifier, say)
        except (KeyError, TypeError, ValueError) as error:
            say(f"what was kept cannot be read: {error!r}")
            return None

    def _first(self, directory: Directory) -> Scene:
        """Return the scene of a fleet that has had no listeners so far.

        Raises:
            ControlError: The daemon does not answer.
        """
        scene = Scene(Pools(directory.identifier, say))
        starts = [row for row in self._news.starts() if data_of(row).get("fresh") is True]
        begun = seq_of(starts[-1]) if starts else 0
        listeners = {entry.service for entry in directory.entries if entry.is_listener}
        changes = [row for row in self._news.changes() if seq_of(row) > begun]
        came = next((row for row in changes if listeners & added_by(row)), None)
        if came is None and starts:
            scene.cursor = begun - 1
            return scene
        scene.cursor = directory.last if came is None else seq_of(came) - 1
        added = set[str]() if came is None else added_by(came)
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

    def _configure(self, directory: Directory) -> None:
        scene = self._scene
        scene.pools.identifier = directory.identifier
        scene.pools.configure(directory.pools)
        for entry in directory.entries:
            scene.translator.learn(entry.service, entry.group, entry.process)
        scene.sources.configure(directory.entries, is_wanted=scene.pools.is_wanted(*_LOG_EVENTS))
        for service in list(self._links.by_service):
            self._adopt(service)

    def _take_events(self) -> None:
        while self._news.queue:
            event = self._news.queue[0]
            self._correct(seq_of(event))
            if seq_of(event) > self._scene.cursor:
                if self._is_crowded(event) or self._waits(event) or not self._knows_fleet(event):
                    return
                self._take(event)
            self._news.queue.popleft()
        self._news.taken(self._scene.cursor)
        self._correct(self._scene.cursor + 1)

    def _correct(self, coming: int) -> None:
        """After all that a daemon which took over had told: see that processes are as it has them.

        Args:
            coming: Number of the next event.
        """
        directory = self._took_over
        if directory is None or coming <= directory.last:
            return
        self._took_over = None
        for entry in directory.entries:
            run = entry.run if entry.pid or entry.state in {"STARTING", "STOPPING"} else ""
            self._accept(self._scene.translator.correct(entry.service, entry.state, run, entry.pid))

    def _is_crowded(self, event: Json) -> bool:
        """Return whether what was missed is to wait, for pools that have no room and are about to get some.

        What happens now goes by the bounds of pools, as supervisord has it; but that we were away is no
        reason to lose anything.
        """
        if not self._news.is_missed(seq_of(event)):
            return False
        now = time.monotonic()
        since = [self._full_since.setdefault(name, now) for name in self._scene.pools.full]
        return any(now < one + _PROGRESS for one in since)

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
        directory = self._news.directory()
        if directory is None:
            self._news.lose()
            return False
        self._configure(directory)
        if event.get("kind") == STARTED and data_of(event).get("fresh") is not True:
            here = {entry.service for entry in directory.entries}
            self._took_over = directory
            gone = [service for service in self._scene.translator.processes if service not in here]
            for service in gone:  # let go of while nobody told
                self._accept(self._scene.translator.take({"kind": "service.removed", "service": service}))
            self._accept(
                self._scene.translator.take({"kind": "fleet.changed", "data": {"added": list(here)}})
            )
        return True

    def _take(self, event: Json) -> None:
        scene, kind = self._scene, event.get("kind")
        scene.cursor = seq_of(event)
        self._is_dirty = True
        if kind == STARTED:
            scene.mark = (scene.cursor, float(cast("float", event["at"])))
        if kind == LAST_WORDS:
            self._last_words = scene.cursor
        source = scene.sources.by_service.get(str(event.get("service", "")))
        if kind == "service.spawned" and source is not None:
            source.began(str(event.get("run", "")), int(cast("int", data_of(event).get("pid", 0))))
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
        waits = [self._news.patience()]
        now = time.monotonic()
        if self._news.queue:
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
            self._news.restart(service, "who spoke with it was killed")

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
            for data in self._links.rest(service):
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
