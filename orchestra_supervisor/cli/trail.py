"""Events in their order across daemons: none twice, none left out that a daemon has kept.

What a killed daemon had told but not yet written is gone from the journal. The next one begins well
beyond its numbers; one of an older version uses them again. So a stream is taken up a little before the
last number, and what was seen is known by more than its number.
"""

from collections import deque
from collections.abc import Iterator

from orchestra_supervisor.control_client import ControlClient, Json

__all__ = ["EventTrail"]

_OVERLAP = 64  # events; a daemon writes at the latest after 20 ms
_OVERFLOW = "overflow"  # the stream's last word where we read too slowly; it is no event

_Key = tuple[object, object, object]


class EventTrail:
    """Where a reader of events stands.

    Args:
        after: Sequence number of the last event that is known already.
    """

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self._floor = after
        self._seen: deque[_Key] = deque(maxlen=4 * _OVERLAP)

    def note(self, row: Json) -> bool:
        """Remember an event; return False where it was seen before."""
        key = (row.get("seq"), row.get("at"), row.get("message"))
        if key in self._seen:
            return False
        self._seen.append(key)
        seq = row.get("seq")
        self.after = seq if isinstance(seq, int) else self.after
        return True

    def stream(
        self, client: ControlClient, service: str | None = None, kind: str | None = None
    ) -> Iterator[Json]:
        """Yield new events of one daemon until it ends the stream.

        Raises:
            ControlError: As the client does.
        """
        start = max(self._floor, self.after - _OVERLAP)
        for event in client.follow_events(after=start, service=service, kind=kind):
            if event.event != _OVERFLOW and self.note(event.data):
                yield event.data
