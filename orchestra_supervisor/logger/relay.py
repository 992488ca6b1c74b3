"""Lines on their way to journald and syslog: never in the way of the file, which stays the truth.

Each destination has one connection, whoever uses it, and a bounded queue. When it is away or slow the queue
fills, the newest are dropped and counted, and the connection is tried again with growing pauses.
"""

import errno
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from orchestra_supervisor.logger.destinations import Connection, Destination, Entry, connect, encode, send
from orchestra_supervisor.logger.drops import Drops
from orchestra_supervisor.logger.timers import Timers

__all__ = ["QUEUE", "Relay", "Relays"]

QUEUE = 4 * 1024 * 1024
"""Bytes that wait for one destination; what comes when it is full is dropped and counted."""

_FIRST_PAUSE = 0.25  # seconds until a connection is tried again; doubles
_LONGEST_PAUSE = 30.0
_SAME_EPISODE = 10.0  # seconds of sending after which a failure is a new one, and told
_ONE_TURN = 256  # entries sent before others have their turn

Event = Callable[[str, dict[str, object]], None]


class Relay:
    """Sends entries to one destination.

    Args:
        destination: Where.
        selector: Where room to send is waited for; the key's data is called.
        timers: For pauses and reports.
        event: Tells the keeper: kind and the keys it carries.
    """

    def __init__(
        self, destination: Destination, selector: selectors.BaseSelector, timers: Timers, event: Event
    ) -> None:
        self._destination = destination
        self._selector = selector
        self._timers = timers
        self._event = event
        self._queue: deque[bytes] = deque()
        self._size = self._sent = 0
        self._socket: Connection | None = None
        self._is_waiting = False
        self._pause = self._failed_at = 0.0
        self._reason = ""
        self._lost_lines = 0
        self._drops = Drops(timers, self._tell_dropped)

    def put(self, entry: Entry) -> None:
        """Have an entry sent; it is dropped and counted when the queue is full."""
        data = encode(self._destination, entry)
        if self._size + len(data) > QUEUE:
            self._lost_lines += 1
            self._drops.add(len(data))
            return
        self._queue.append(data)
        self._size += len(data)

    def push(self) -> None:
        """Send what can be sent now."""
        if not self._queue or self._is_waiting or self._reason:
            return
        try:
            if self._socket is None:
                self._socket = connect(self._destination)
            for _ in range(_ONE_TURN):
                if not self._queue:
                    return
                self._send_first(self._socket)
            self._wait(self._socket)
        except BlockingIOError:
            if self._socket is not None:
                self._wait(self._socket)
        except OSError as error:
            self._lose(error)

    def flush(self, deadline: float) -> None:
        """Send what waits, until a deadline (monotonic); then give up."""
        while self._queue and not self._reason and time.monotonic() < deadline:
            self._stop_waiting()
            self.push()
            if self._is_waiting and self._socket is not None:
                with selectors.DefaultSelector() as ready:
                    ready.register(self._socket, selectors.EVENT_WRITE)
                    ready.select(max(0.0, deadline - time.monotonic()))
        if self._queue:
            self._lost_lines += len(self._queue)
            self._drops.add(self._size)
        self._drops.report()
        self.close()

    def close(self) -> None:
        """Let go of the connection and of what waits for it."""
        self._stop_waiting()
        self._queue.clear()
        self._size = self._sent = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_first(self, sock: Connection) -> None:
        data = self._queue[0]
        try:
            done = send(sock, self._destination, data[self._sent :])
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            done = len(data)  # no receiver takes it, ever
            self._lost_lines += 1
            self._drops.add(done)
        self._sent += done
        if self._sent >= len(data) or not self._destination.is_stream:
            self._queue.popleft()
            self._size -= len(data)
            self._sent = 0
        if self._pause and time.monotonic() - self._failed_at >= _SAME_EPISODE:
            self._pause = 0.0

    def _wait(self, sock: Connection) -> None:
        if self._is_waiting:
            return
        try:
            self._selector.register(sock, selectors.EVENT_WRITE, self._on_ready)
        except PermissionError:  # a file, which can always be written
            self._timers.after(0.0, self.push)
        else:
            self._is_waiting = True

    def _stop_waiting(self) -> None:
        if self._is_waiting and self._socket is not None:
            self._selector.unregister(self._socket)
        self._is_waiting = False

    def _on_ready(self) -> None:
        self._stop_waiting()
        self.push()

    def _lose(self, error: OSError) -> None:
        """Nobody takes entries: try again after a pause."""
        self._stop_waiting()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._sent = 0  # what was sent in part is sent again as a whole
        self._reason = error.strerror or str(error)
        self._failed_at = time.monotonic()
        if not self._pause:
            self._event("sink_away", {"path": self._destination.name, "reason": self._reason})
        self._pause = min(_LONGEST_PAUSE, self._pause * 2) or _FIRST_PAUSE
        self._timers.after(self._pause, self._try_again)

    def _try_again(self) -> None:
        self._reason = ""
        self.push()

    def _tell_dropped(self, size: int, since_wall: float) -> None:
        lines, self._lost_lines = self._lost_lines, 0
        facts = {"path": self._destination.name, "bytes": size, "lines": lines, "since_wall": since_wall}
        self._event("sink_dropped", dict(facts))


class Relays:
    """All destinations that are in use.

    Args:
        selector: See `Relay`.
        timers: See `Relay`.
        event: See `Relay`.
    """

    def __init__(self, selector: selectors.BaseSelector, timers: Timers, event: Event) -> None:
        self._selector = selector
        self._timers = timers
        self._event = event
        self._relays: dict[Destination, Relay] = {}

    def put(self, destinations: Iterable[Destination], entries: list[Entry]) -> None:
        """Send entries to some destinations."""
        for destination in destinations:
            relay = self._relays.get(destination)
            if relay is None:
                relay = Relay(destination, self._selector, self._timers, self._event)
                self._relays[destination] = relay
            for entry in entries:
                relay.put(entry)
            relay.push()

    def close(self, within: float) -> None:
        """Send what waits, for so many seconds at most, and let go of all connections."""
        deadline = time.monotonic() + within
        for relay in self._relays.values():
            with suppress(OSError):
                relay.flush(deadline)
        self._relays.clear()
