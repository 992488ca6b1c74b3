"""The daemon's event stream on a socket that is never waited for: bytes in, events out.

`ControlClient.stream` waits; here one thread waits for many things at once, so that the stream is read when
there is something to read.

Source: docs/control-api.md; RFC 9112 (chunks); the HTML standard, "Server-sent events".
"""

import json
import socket
from typing import cast

from orchestra_supervisor.unix_http import connect

__all__ = ["EventFeed", "FeedLost", "StreamDecoder"]

Json = dict[str, object]

_READ = 256 * 1024
_LONGEST = 16 * 1024 * 1024  # bytes of one event
_CONNECT = 2.0  # seconds


class FeedLost(Exception):
    """The stream has ended; the text says how. Whoever wants more asks anew, from the last event on."""


class StreamDecoder:
    """Takes the bytes of an answer apart, however they were split."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._text = bytearray()
        self._is_head = True

    def feed(self, data: bytes) -> list[Json]:
        """Take bytes and return the events that are whole.

        Raises:
            FeedLost: The answer is none, or it is over.
        """
        self._raw += data
        if self._is_head and not self._head():
            return []
        is_over = self._chunks()
        events = self._events()
        if is_over and not events:
            raise FeedLost("the daemon has ended the stream")
        if max(len(self._raw), len(self._text)) > _LONGEST:
            raise FeedLost("an event is too long")
        return events

    def _head(self) -> bool:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._raw[:end]).decode("latin-1").lower()
        status, _, fields = head.partition("\r\n")
        if status.split(" ")[1:2] != ["200"] or "transfer-encoding: chunked" not in fields:
            raise FeedLost(f"no stream: {status}")
        del self._raw[: end + 4]
        self._is_head = False
        return True

    def _chunks(self) -> bool:
        """Take whole chunks; return whether the last one was among them."""
        while (end := self._raw.find(b"\r\n")) >= 0:
            try:
                size = int(bytes(self._raw[:end]).split(b";")[0], 16)
            except ValueError:
                raise FeedLost("no chunk where one has to be") from None
            if not size:
                return True
            if len(self._raw) < end + size + 4:
                break
            self._text += self._raw[end + 2 : end + 2 + size]
            del self._raw[: end + size + 4]
        return False

    def _events(self) -> list[Json]:
        events: list[Json] = []
        while (end := self._text.find(b"\n\n")) >= 0:
            block = bytes(self._text[:end])
            del self._text[: end + 2]
            lines = block.split(b"\n")
            if b"event: overflow" in lines:
                raise FeedLost("it came too fast")
            data = b"\n".join(line[6:] for line in lines if line.startswith(b"data: "))
            if data:
                events.append(_object(data))
        return events


class EventFeed:
    """A connection on which events come.

    Args:
        path: The control socket.
        after: Events up to this number are known.

    Raises:
        OSError: Nobody is there.
    """

    def __init__(self, path: str, after: int) -> None:
        self._socket: socket.socket = connect(path, _CONNECT)
        self._decoder = StreamDecoder()
        head = f"GET /v1/events/stream?after={after} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        try:
            self._socket.sendall(head.encode("ascii"))
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(0)

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self._socket.close()

    def read(self) -> list[Json]:
        """Return the events that have come.

        Raises:
            FeedLost: There will be no more.
        """
        try:
            data = self._socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise FeedLost(f"the connection broke: {error.strerror}") from error
        if not data:
            raise FeedLost("the daemon went away")
        return self._decoder.feed(data)


def _object(data: bytes) -> Json:
    try:
        parsed: object = json.loads(data)
    except ValueError:
        raise FeedLost("an event is not JSON") from None
    if not isinstance(parsed, dict):
        raise FeedLost("an event is no object")
    return cast("Json", parsed)
