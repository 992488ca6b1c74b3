"""The two messages of gRPC's health service, as they travel.

A message is preceded by a byte that says whether it is compressed, and by its size. Inside, each field is a
tag (its number and wire type) and a value. Two fields are of interest, so no library of messages is needed.

Source: "gRPC over HTTP2"; "GRPC Health Checking Protocol"; "Protocol Buffers: Encoding".
"""

import struct

__all__ = ["MESSAGE_LIMIT", "SERVING", "BadMessage", "encode_request", "serving_status", "status_name"]

MESSAGE_LIMIT = 16 * 1024
"""Bytes of an answer; a sound one has two, and whatever later versions of the service add. Less than what
HTTP/2 lets a server send unasked (64 KiB), so that nothing has to be acknowledged."""
SERVING = 1
_STATUS_NAMES = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_PREFIX = struct.Struct(">BI")  # compressed, size
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10  # bytes of 64 bits, seven a byte


class BadMessage(Exception):
    """An answer is not a message of the health service; says why."""


def encode_request(service: str) -> bytes:
    """Return `HealthCheckRequest{service}` with its prefix."""
    name = service.encode()
    message = bytes([1 << 3 | _LEN]) + _varint(len(name)) + name if name else b""
    return _PREFIX.pack(0, len(message)) + message


def serving_status(data: bytes) -> int:
    """Return the status in a `HealthCheckResponse` with its prefix; 0 where it is left out.

    Raises:
        BadMessage: It is none.
    """
    if len(data) < _PREFIX.size:
        raise BadMessage("the answer has no message")
    compressed, size = _PREFIX.unpack_from(data)
    body = data[_PREFIX.size : _PREFIX.size + size]
    if compressed:
        raise BadMessage("the answer is compressed, which was not asked for")
    if len(body) < size:
        raise BadMessage("the answer is cut short")
    status = at = 0
    while at < size:
        tag, at = _read_varint(body, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _read_varint(body, at)
            status = value if number == 1 else status
        elif wire == _LEN:
            length, at = _read_varint(body, at)
            at += length
        elif wire in (_I32, _I64):
            at += 4 if wire == _I32 else 8
        else:
            raise BadMessage("the answer is not a health message")
    if at > size:
        raise BadMessage("the answer is not a health message")
    return status


def status_name(status: int) -> str:
    """Return a status as the service's definition calls it."""
    return _STATUS_NAMES.get(status, f"status {status}")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise BadMessage("the answer is not a health message")
