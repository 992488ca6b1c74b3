"""Frames of the keeper protocol, without I/O: bytes in, messages out.

A frame is an 8-byte header and a JSON object; file descriptors travel beside it as
SCM_RIGHTS. docs/keeper-protocol.md has the byte diagram. The decoder takes any split of
the stream and refuses garbage by raising, after which the connection is of no more use.
"""

import json
import struct
from collections.abc import Iterator
from typing import cast

__all__ = [
    "HEADER_SIZE",
    "MAX_BODY",
    "MAX_FDS",
    "VERSION",
    "FrameDecoder",
    "Message",
    "WireError",
    "encode_frame",
]

Message = dict[str, object]

VERSION = 2
HEADER_SIZE = 8
MAX_BODY = 4 * 1024 * 1024
"""Bytes of JSON in one frame; a larger one is a fault of the sender (an environment is at most 2 MiB)."""
MAX_FDS = 16
"""Descriptors that one frame may carry (the kernel's limit is 253)."""

_HEADER = struct.Struct(">IBBH")


class WireError(Exception):
    """The stream is not this protocol, or breaks its limits; the connection must be closed."""


def encode_frame(message: Message, fds: int = 0) -> bytes:
    """Encode one message.

    Args:
        message: A JSON-ready object with a `type`.
        fds: How many descriptors the sender attaches to the frame's bytes, 0 to MAX_FDS.

    Returns:
        Header and body, to be sent as they are.

    Raises:
        WireError: The body is over MAX_BODY, or fds is out of range.
    """
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    if len(body) > MAX_BODY:
        msg = f"message {message.get('type')!r} has {len(body)} bytes, over the limit of {MAX_BODY}"
        raise WireError(msg)
    if not 0 <= fds <= MAX_FDS:
        msg = f"a frame carries 0 to {MAX_FDS} descriptors, not {fds}"
        raise WireError(msg)
    return _HEADER.pack(len(body), VERSION, fds, 0) + body


class FrameDecoder:
    """Turns received bytes into messages, however they were split."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Message, int]]:
        """Take bytes and yield each complete message with its number of descriptors.

        Raises:
            WireError: Wrong version, over a limit, or a body that is not a JSON object with a `type`.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            length, version, fds, reserved = _HEADER.unpack_from(self._buffer)
            if version != VERSION or reserved:
                msg = f"not a frame of version {VERSION} (version byte {version}, reserved {reserved})"
                raise WireError(msg)
            if length > MAX_BODY or fds > MAX_FDS:
                msg = f"frame of {length} bytes and {fds} descriptors is over the limits"
                raise WireError(msg)
            if len(self._buffer) < HEADER_SIZE + length:
                return
            body = bytes(self._buffer[HEADER_SIZE : HEADER_SIZE + length])
            del self._buffer[: HEADER_SIZE + length]
            yield _parse(body), fds

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame that are waiting for more."""
        return len(self._buffer)


def _parse(body: bytes) -> Message:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = f"frame body is not JSON: {error}"
        raise WireError(msg) from error
    if not isinstance(parsed, dict):
        msg = "frame body is not an object"
        raise WireError(msg)
    message = cast("Message", parsed)
    if not isinstance(message.get("type"), str):
        msg = "frame body has no type"
        raise WireError(msg)
    return message
