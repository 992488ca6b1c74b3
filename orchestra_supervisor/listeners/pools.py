"""Pools of listeners: what waits for each, who gets the next event, and what becomes of it. No I/O.

An event has one serial, given when the first pool takes it, and one in each pool that takes it. What is
refused, and what a listener had when it ended, goes to the head of its pool. A full pool drops its oldest.

Source: supervisor 4.3, `process.py` (EventListenerPool).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from orchestra_supervisor.listeners.catalog import Happening, is_a
from orchestra_supervisor.listeners.protocol import Fate, Listener, ListenerState

__all__ = ["DEFAULT_BUFFER", "Numbered", "Pool", "PoolSpec", "Pools"]

DEFAULT_BUFFER = 10
"""Events that wait for a pool whose file does not say how many."""

_RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool as the fleet has it.

    Attributes:
        name: Its group.
        events: The types that it subscribes to.
        buffer_size: Events that may wait.
        members: Its services, in the order in which they are asked, each with the name of its process.
    """

    name: str
    events: tuple[str, ...] = ()
    buffer_size: int = DEFAULT_BUFFER
    members: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Numbered:
    """An event with its numbers; `pool_serials` by pool."""

    serial: int
    name: str
    payload: str
    pool_serials: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class Pool:
    """A pool as it stands.

    Attributes:
        spec: As the fleet has it.
        is_subscribed: It is there: events from here on are for it.
        serial: The last number it has given.
        buffer: What waits, the oldest first.
    """

    spec: PoolSpec
    is_subscribed: bool = False
    serial: int = -1
    buffer: list[Numbered] = field(default_factory=list[Numbered])


class Pools:
    """All pools, and the runs of their listeners.

    Args:
        identifier: What the fleet is called in headers.
        say: Told in one line what supervisord would log.
    """

    def __init__(self, identifier: str, say: Callable[[str], None]) -> None:
        self.identifier = identifier
        self.pools: dict[str, Pool] = {}
        self.listeners: dict[str, Listener] = {}
        """By service: its present run."""
        self.events: dict[str, Numbered] = {}
        """By service: what its run has and has not answered for."""
        self.serial = -1
        self._say = say

    # Who is there.

    def configure(self, specs: Iterable[PoolSpec]) -> None:
        """Take the pools as the fleet has them now; what waits for one that stays, stays."""
        wanted = {spec.name: spec for spec in specs}
        for name in [name for name in self.pools if name not in wanted]:
            del self.pools[name]
        for name, spec in wanted.items():
            pool = self.pools.setdefault(name, Pool(spec))
            pool.spec = spec

    def subscribe(self, name: str) -> None:
        """From now on events are for a pool, too."""
        if name in self.pools:
            self.pools[name].is_subscribed = True

    def is_wanted(self, *names: str) -> bool:
        """Return whether any pool subscribes to one of these types."""
        wanted = {one for pool in self.pools.values() for one in pool.spec.events}
        return any(is_a(name, one) for name in names for one in wanted)

    def begin(self, service: str, run: str) -> None:
        """A listener has a run; one that is known already is not begun again."""
        known = self.listeners.get(service)
        if known is not None and known.run == run:
            return
        self.end(service)
        self.listeners[service] = Listener(self._process(service), run)

    def end(self, service: str) -> None:
        """A listener's run is over: what it had goes back."""
        if self.listeners.pop(service, None) is not None:
            self._give_back(service)

    def distrust(self, service: str) -> None:
        """What a listener has heard is not known: it gets nothing more, and what it had goes back."""
        if service in self.listeners:
            self.listeners[service].state = ListenerState.UNKNOWN
            self._give_back(service)

    def heard(self, service: str, data: bytes) -> None:
        """A listener has said something."""
        listener = self.listeners.get(service)
        if listener is None:
            return
        for verdict in listener.feed(data):
            if verdict.text:
                self._say(verdict.text)
            if verdict.fate is Fate.TAKEN:
                self.events.pop(service, None)
            elif verdict.fate is Fate.REJECTED:
                self._give_back(service)

    # Events.

    def accept(self, happening: Happening) -> None:
        """Give an event to each pool that wants it, as often as it subscribes to it."""
        if happening.name == "PROCESS_GROUP_ADDED":
            self.subscribe(happening.group)
        event: Numbered | None = None
        for pool in self.pools.values():
            for wanted in pool.spec.events if pool.is_subscribed else ():
                if not is_a(happening.name, wanted):
                    continue
                if event is None:
                    self.serial += 1
                    event = Numbered(self.serial, happening.name, happening.payload)
                if pool.spec.name not in event.pool_serials:
                    pool.serial += 1
                    event.pool_serials[pool.spec.name] = pool.serial
                self._make_room(pool)
                pool.buffer.append(event)
        if happening.name == "PROCESS_GROUP_REMOVED" and happening.group in self.pools:
            self.pools[happening.group].is_subscribed = False

    @property
    def full(self) -> list[str]:
        """The pools that would drop something if one more came."""
        return [name for name, pool in self.pools.items() if len(pool.buffer) >= pool.spec.buffer_size]

    def is_settled(self, states: Mapping[str, str]) -> bool:
        """Return whether nobody who may be told something is still to be told, or to answer.

        Args:
            states: Of services, in supervisord's words.
        """
        for pool in self.pools.values():
            for service, _ in pool.spec.members:
                listener = self.listeners.get(service)
                if listener is None or states.get(service) != _RUNNING:
                    continue
                is_waiting = pool.buffer and listener.state is not ListenerState.UNKNOWN
                if is_waiting or listener.state is ListenerState.BUSY:
                    return False
        return True

    def dispatch(self, states: Mapping[str, str], write: Callable[[str, bytes], bool]) -> set[str]:
        """Give what waits to who is ready; return the pools of which somebody got something.

        Args:
            states: Of services, in supervisord's words: only RUNNING ones get events.
            write: Sends to a service; False: nobody reads there any more.
        """
        moved: set[str] = set()
        for name, pool in self.pools.items():
            while pool.buffer and self._send(pool, pool.buffer[0], states, write):
                pool.buffer.pop(0)
                moved.add(name)
        return moved

    def _send(
        self, pool: Pool, event: Numbered, states: Mapping[str, str], write: Callable[[str, bytes], bool]
    ) -> bool:
        for service, _ in pool.spec.members:
            listener = self.listeners.get(service)
            is_ready = listener is not None and listener.state is ListenerState.READY
            if listener is None or not is_ready or states.get(service) != _RUNNING:
                continue
            if write(service, self._envelope(pool, event)):
                listener.give()
                self.events[service] = event
                return True
        return False

    def _envelope(self, pool: Pool, event: Numbered) -> bytes:
        # The length is that of the text, as supervisord has it: listeners read text.
        head = (
            f"ver:3.0 server:{self.identifier} serial:{event.serial} pool:{pool.spec.name} "
            f"poolserial:{event.pool_serials[pool.spec.name]} eventname:{event.name} "
            f"len:{len(event.payload)}\n"
        )
        return (head + event.payload).encode("utf-8", "surrogateescape")

    def _give_back(self, service: str) -> None:
        event = self.events.pop(service, None)
        if event is None:
            return
        for pool in self.pools.values():
            if any(service == member for member, _ in pool.spec.members):
                event.pool_serials.setdefault(pool.spec.name, 0)
                self._make_room(pool)
                pool.buffer.insert(0, event)

    def _make_room(self, pool: Pool) -> None:
        while pool.buffer and len(pool.buffer) >= pool.spec.buffer_size:
            dropped = pool.buffer.pop(0)
            self._say(f"pool {pool.spec.name} event buffer overflowed, discarding event {dropped.serial}")

    def _process(self, service: str) -> str:
        for pool in self.pools.values():
            for member, process in pool.spec.members:
                if member == service:
                    return process
        return service
