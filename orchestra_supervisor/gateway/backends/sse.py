"""Server-sent events, without I/O: bytes in, events out.

Source: WHATWG HTML, "Parsing an event stream".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestra_supervisor.gateway.backends.link import MESSAGE_LIMIT

__all__ = ["EventDecoder", "SseEvent", "TooLong"]


class TooLong(Exception):
    """An event is over the limit."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event.

    Attributes:
        kind: `message` where the stream names none.
        data: Its lines, joined; empty in an event that only carries an id.
        id: The last id of the stream so far.
    """

    kind: str
    data: str
    id: str


class EventDecoder:
    """Turns the bytes of a stream into events, however they were split."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data: list[str] = []
        self._size = 0
        self._kind = ""
        self.last_id = ""
        self.retry: float | None = None
        """Seconds that the server wants to be left alone before a reconnect."""

    def feed(self, data: bytes) -> Iterator[SseEvent]:
        """Take bytes and yield each event that is complete.

        Raises:
            TooLong: An event is over the limit.
        """
        self._buffer += data
        if self._size + len(self._buffer) > 2 * MESSAGE_LIMIT:
            raise TooLong
        while (line := self._line()) is not None:
            if line:
                self._field(line)
            elif self._data or self._kind:
                event = SseEvent(self._kind or "message", "\n".join(self._data), self.last_id)
                self._data, self._kind, self._size = [], "", 0
                yield event

    def _line(self) -> str | None:
        feed, back = self._buffer.find(b"\n"), self._buffer.find(b"\r")
        if feed < 0 and (back < 0 or back == len(self._buffer) - 1):
            return None  # a carriage return at the very end may be the first half of a line's end
        end = feed if back < 0 else back if feed < 0 else min(feed, back)
        width = 2 if self._buffer.startswith(b"\r\n", end) else 1
        line = self._buffer[:end].decode("utf-8", "replace")
        del self._buffer[: end + width]
        return line

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
                self._size += len(value)
                if self._size > MESSAGE_LIMIT:
                    raise TooLong
            case "event":
                self._kind = value
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value) / 1000
            case _:
                pass  # a comment, or a field of a later time
