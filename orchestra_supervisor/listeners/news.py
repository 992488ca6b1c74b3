"""What the daemon says: the fleet as it is, and events as they come, however often it is replaced."""

import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.listeners.directory import Directory, parse_directory
from orchestra_supervisor.listeners.feed import EventFeed, FeedLost

__all__ = ["LAST_WORDS", "STARTED", "Mark", "News", "added_by", "data_of", "rewound", "seq_of"]

Json = dict[str, object]
Mark = tuple[int, float]
"""Number and time of an event that told of a daemon's start: together they are no other's."""

STARTED = "daemon.started"
LAST_WORDS = "listeners.last"
"""The fleet goes down, and who is to be told of it is to have been told all up to here."""
_RETRY = 0.05  # seconds between attempts to reach a daemon that is away
_SILENCE = (
    60.0  # seconds without a byte, of which the daemon sends some every 15 s, after which it is asked anew
)
_ANSWER = 5.0  # seconds for an answer of the daemon
_STARTS = 50  # newest starts of daemons that are looked at
_BEHIND = 1000  # events that may come while what was missed is made up for
_QUEUE = 20_000  # events that wait here; of more the stream is asked anew, from the last that was taken on
_CHANGES = 200  # likewise changes of the fleet


class News:
    """Asks the daemon, and listens to it.

    Args:
        control: Path of the control socket.
        selector: Where its stream is waited for.
        say: Told what goes wrong.
    """

    def __init__(self, control: str, selector: selectors.BaseSelector, say: Callable[[str], None]) -> None:
        self.queue: deque[Json] = deque()
        """Events that have come and were not taken yet."""
        self._missed_until = 0
        """Number of the last event that counts as missed, 0: there is none any more."""
        self._last = 0
        self._control = control
        self._client = ControlClient(control, timeout=_ANSWER)
        self._selector = selector
        self._say = say
        self._feed: EventFeed | None = None
        self._next_try = self._last_byte = 0.0

    def directory(self) -> Directory | None:
        """Return the fleet as it is now; None: nobody answers."""
        try:
            return parse_directory(self._client.request("GET", "/v1/listeners"))
        except ControlError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            self._say(f"the daemon's answer cannot be read: {error!r}")
            return None

    def wait_directory(self) -> Directory:
        """Return the fleet as it is, as soon as somebody answers."""
        while (found := self.directory()) is None:
            time.sleep(_RETRY)
        return found

    def starts(self) -> list[Json]:
        """Return the newest events that told of a daemon's start, the oldest first.

        Raises:
            ControlError: Nobody answers.
        """
        return rows(self._client.events(limit=_STARTS, kind=STARTED), "events")

    def changes(self) -> list[Json]:
        """Return the newest events that told of services that came and went, the oldest first.

        Raises:
            ControlError: Nobody answers.
        """
        return rows(self._client.events(limit=_CHANGES, kind="fleet.changed"), "events")

    def restart(self, service: str, why: str) -> None:
        """Have a service started anew."""
        try:
            self._client.restart([service], wait="none", reason=why)
        except ControlError as error:
            self._say(f"{service} cannot be started anew: {error.message}")

    def told(self, seq: int) -> None:
        """Say that listeners were told of everything up to an event; it waits for that within bounds."""
        try:
            self._client.request("POST", "/v1/listeners/told", body={"seq": seq})
        except ControlError as error:
            self._say(f"the daemon does not hear how far listeners were told: {error.message}")

    # The stream.

    def patience(self) -> float:
        """Return the seconds after which `mind` is to be called at the latest."""
        if self._feed is not None:
            return _SILENCE
        return max(0.0, self._next_try - time.monotonic())

    def mind(self, cursor: int, mark: Mark | None) -> int:
        """See that events come.

        Args:
            cursor: Number of the last event that was taken.
            mark: The last start of a daemon that was taken.

        Returns:
            The cursor, or an earlier one: what comes after it is news.
        """
        now = time.monotonic()
        if self._feed is not None and now > self._last_byte + _SILENCE:
            self.lose()
        if self._feed is not None or now < self._next_try:
            return cursor
        self._next_try = now + _RETRY
        try:
            cursor = rewound(cursor, mark, self.starts()) if mark is not None else cursor
            self._last = seq_of({"seq": self._client.events(limit=1).get("last")})
            self._missed_until = self._last + _BEHIND
            self._feed = EventFeed(self._control, cursor)
        except (OSError, ControlError):
            return cursor
        self._last_byte = now
        self._selector.register(self._feed.fileno(), selectors.EVENT_READ, self._on_feed)
        return cursor

    def is_missed(self, seq: int) -> bool:
        """Return whether an event is one of those that were missed, or came while they were made up for."""
        return seq <= self._missed_until

    def taken(self, cursor: int) -> None:
        """All that has come was taken, up to a number."""
        if cursor >= self._last:
            self._missed_until = 0

    def lose(self) -> None:
        """Let go of the stream; what was not taken comes again."""
        if self._feed is not None:
            self._selector.unregister(self._feed.fileno())
            self._feed.close()
            self._feed = None
        self.queue.clear()

    def _on_feed(self, _events: int) -> None:
        if self._feed is None:
            return
        try:
            events = self._feed.read()
        except FeedLost:
            self.lose()
            return
        self._last_byte = time.monotonic()
        self.queue.extend(events)
        if len(self.queue) > _QUEUE:
            self.lose()


def rewound(cursor: int, mark: Mark, starts: list[Json]) -> int:
    """Return where to go on, so that nothing is missed that daemons have told since the one of the mark.

    A daemon that is killed has told what it did not come to keep, and the next one gives the same numbers to
    other events: all of those are news, from its own start on.
    """
    places = [(seq_of(row), float(cast("float", row["at"]))) for row in starts]
    unseen = places[places.index(mark) + 1 :] if mark in places else places[-1:]
    return min(cursor, unseen[0][0] - 1) if unseen else cursor


def data_of(event: Mapping[str, object]) -> Json:
    """Return the further facts of an event."""
    data = event.get("data")
    return cast("Json", data) if isinstance(data, dict) else {}


def seq_of(event: Mapping[str, object]) -> int:
    """Return the number of an event."""
    seq = event.get("seq")
    return seq if isinstance(seq, int) else 0


def added_by(event: Mapping[str, object]) -> set[str]:
    """Return the services that came with a change of the fleet."""
    added = data_of(event).get("added")
    return {str(one) for one in cast("list[object]", added)} if isinstance(added, list) else set()
