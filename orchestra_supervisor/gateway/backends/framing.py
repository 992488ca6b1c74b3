"""MCP's stdio framing, without I/O: bytes in, JSON objects out, whatever else a server writes to its stdout.

Source: MCP 2026-07-28, `basic/transports/stdio.mdx`: one JSON object a line, and nothing else. Real
servers print banners and warnings there as well: such lines are counted and dropped.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from orchestra_supervisor.gateway.backends.link import MESSAGE_LIMIT
from orchestra_supervisor.gateway.messages import Json

__all__ = ["LineDecoder", "Noise", "Oversized", "encode", "parse_message"]

_ENDS = 512  # bytes kept of each end of a line that is too long: its id stands in one of them


@dataclass(slots=True)
class Noise:
    """What came that was no message of ours.

    Attributes:
        lines: Lines that are no JSON object.
        oversized: Lines over the limit.
        unknown_ids: Answers to nothing that was asked: late ones, or of a confused server.
        unattributed: Messages that could belong to any of several calls, and were dropped.
    """

    lines: int = 0
    oversized: int = 0
    unknown_ids: int = 0
    unattributed: int = 0


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line that was too long.

    Attributes:
        id: The id in it, where it can be told.
        size: Its bytes.
    """

    id: str
    size: int


def encode(message: Json) -> bytes:
    """Return a message as one line."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"


def parse_message(document: bytes) -> Json | None:
    """Return a message, None where the bytes are none. NaN and the like, which are no JSON, become null."""
    try:
        found: object = _DECODER.decode(document.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    message = cast("Json", found)
    is_sound = isinstance(message.get("method", ""), str) and isinstance(message.get("id"), _IDS)
    return message if is_sound else None


def _null(word: str) -> None:  # noqa: ARG001 - the signature of the hook
    return None


_DECODER = json.JSONDecoder(parse_constant=_null)
_IDS = (str, int, type(None))


class LineDecoder:
    """Turns what was read from a server's stdout into messages, however it was split.

    Args:
        noise: Counts what is dropped.
        id_prefix: How our ids begin, to find one in a line that is not parsed.
        limit: Bytes of the longest line that is parsed.
    """

    def __init__(self, noise: Noise, id_prefix: str, limit: int = MESSAGE_LIMIT) -> None:
        self._noise = noise
        self.limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._tail = b""
        self._id = re.compile(rb'"id"\s*:\s*"(' + re.escape(id_prefix.encode()) + rb'\d+)"')

    def feed(self, data: bytes) -> Iterator[Json | Oversized]:
        """Take bytes and yield each message that is complete, in order."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            yield from self._line(data[start:end])
            start = end + 1
        if start < len(data):
            self._keep(data[start:])

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self.limit:
            self._parts.append(piece)
            return
        if self._parts or not self._head:
            whole = b"".join(self._parts) + piece
            self._parts.clear()
            self._head, self._tail = whole[:_ENDS], whole[-_ENDS:]
        else:
            self._tail = (self._tail + piece)[-_ENDS:]

    def _line(self, piece: bytes) -> Iterator[Json | Oversized]:
        if not self._size and len(piece) <= self.limit:
            line = piece
        else:
            self._keep(piece)
            size, self._size = self._size, 0
            if size > self.limit:
                found = self._id.search(self._head) or self._id.search(self._tail)
                self._head = self._tail = b""
                self._noise.oversized += 1
                yield Oversized(found[1].decode() if found else "", size)
                return
            line = b"".join(self._parts)
            self._parts.clear()
        line = line.strip()
        if not line:
            return
        if line[:1] != b"{":
            self._noise.lines += 1
            return
        message = parse_message(line)
        if message is None:
            self._noise.lines += 1
        else:
            yield message
