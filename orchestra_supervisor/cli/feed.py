"""Events as they come, beside whatever else a program waits for.

A thread reads the daemon's stream, because a stream is read by blocking; the rest of the
program sees a descriptor that becomes readable and a list. The stream is taken up again
with every new daemon, from the last event seen.
"""

import contextlib
import os
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

from orchestra_supervisor.cli.shapes import EventView
from orchestra_supervisor.cli.trail import EventTrail
from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.control_home import socket_path

__all__ = ["EventFeed"]

_RETRY_EVERY = 0.03  # seconds
_CATCH_UP = 1_000  # events of the first seconds of a start that are shown at most


class EventFeed:
    """A background reader of events.

    Args:
        home: State directory.
        since: Wall seconds; of the events that there are at first, older ones are left out.
    """

    def __init__(self, home: Path, since: float) -> None:
        self._home = home
        self._since = since
        self._queue: SimpleQueue[EventView] = SimpleQueue()
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # A daemon thread: it may sit in a read when the program ends, and has nothing to save.
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be events."""
        return self._reader

    def take(self) -> list[EventView]:
        """Return the events that have come since the last call."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 4_096):
                pass
        events: list[EventView] = []
        with contextlib.suppress(Empty):
            while True:
                events.append(self._queue.get_nowait())
        return events

    def _put(self, event: EventView) -> None:
        self._queue.put(event)
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b".")

    def _run(self) -> None:
        trail: EventTrail | None = None
        while True:
            try:
                client = ControlClient(socket_path(self._home))
                if trail is None:
                    answer = client.events(limit=_CATCH_UP)
                    last = answer.get("last")
                    trail = EventTrail(last if isinstance(last, int) else 0)
                    for row in rows(answer, "events"):
                        trail.note(row)
                        event = EventView(row)
                        if event.at >= self._since:  # else it is of an earlier fleet
                            self._put(event)
                # What comes after those is of this fleet, whatever the wall clock was set to meanwhile.
                for row in trail.stream(client):
                    self._put(EventView(row))
            except (ControlError, ValueError):
                pass  # no daemon, one that ends, or half an answer of it: the next one has it all
            time.sleep(_RETRY_EVERY)
