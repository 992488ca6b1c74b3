"""Events on their way out: numbered, journalled, and handed to whoever listens."""

from collections.abc import Generator
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
    _listeners: set[MemoryObjectSendStream[Event]] = field(default_factory=set[MemoryObjectSendStream[Event]])

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
        """Give an event that is already numbered to the listeners."""
        for listener in tuple(self._listeners):
            try:
                listener.send_nowait(event)
            except anyio.WouldBlock:
                self._cut_off(listener)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._listeners.discard(listener)

    def _cut_off(self, listener: MemoryObjectSendStream[Event]) -> None:
        self._listeners.discard(listener)
        listener.close()

    @contextmanager
    def listen(self) -> Generator[MemoryObjectReceiveStream[Event]]:
        """Yield a stream of events from now on; it ends early when the listener lags too far behind."""
        send, receive = anyio.create_memory_object_stream[Event](SUBSCRIBER_BUFFER)
        self._listeners.add(send)
        try:
            yield receive
        finally:
            self._listeners.discard(send)
            send.close()
            receive.close()
