"""Events on their way out: numbered, journalled, and handed to whoever listens."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from orchestra_supervisor.engine.ports import Clock, EventLog
from orchestra_supervisor.model.events import Event

__all__ = ["SUBSCRIBER_BUFFER", "EventBus"]

SUBSCRIBER_BUFFER = 4096
"""Events that a listener may lag behind; a slower one is cut off and can catch up from the journal."""


@dataclass
class EventBus:
    """Publishes events without ever waiting for anybody."""

    log: EventLog
    clock: Clock
    _followers: list[Callable[[Event], None]] = field(default_factory=list[Callable[[Event], None]])
    _listeners: dict[MemoryObjectSendStream[Event], Callable[[Event], bool]] = field(
        default_factory=dict[MemoryObjectSendStream[Event], Callable[[Event], bool]]
    )

    def publish(
        self,
        kind: str,
        message: str,
        *,
        service: str = "",
        run: str = "",
        data: dict[str, object] | None = None,
    ) -> Event:
        """Record an event and hand it on; returns it with its number."""
        event = Event(kind, message, self.clock.wall(), service, run, data or {})
        event = self.log.record_nowait(event)
        self.hand_on(event)
        return event

    def hand_on(self, event: Event) -> None:
        """Give an event that is already numbered to who follows and who listens."""
        for follower in self._followers:
            follower(event)
        for listener, wants in tuple(self._listeners.items()):
            try:
                if not listener.statistics().open_receive_streams:
                    raise anyio.BrokenResourceError
                if wants(event):
                    listener.send_nowait(event)
            except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
                # Too slow, or gone: the stream ends, and the journal has what was missed.
                del self._listeners[listener]
                listener.close()

    @contextmanager
    def followed_by(self, take: Callable[[Event], None]) -> Generator[None]:
        """Have a function called with every event, for the time of the block.

        It must neither wait nor raise. It costs no turn of the loop, as reading a stream does.
        """
        self._followers.append(take)
        try:
            yield
        finally:
            self._followers.remove(take)

    @property
    def listeners(self) -> int:
        """How many listen, those included that have left since the last event."""
        return len(self._listeners)

    def subscribe(self, wants: Callable[[Event], bool]) -> MemoryObjectReceiveStream[Event]:
        """Return a stream of the wanted events from now on.

        Close it to unsubscribe. It ends early when its reader lags too far behind.
        """
        send, receive = anyio.create_memory_object_stream[Event](SUBSCRIBER_BUFFER)
        self._listeners[send] = wants
        return receive
