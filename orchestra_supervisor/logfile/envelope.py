"""Lines as JSON objects, for logs that are written with `log.format: json`.

A record of the index whose stream has the bit `ENVELOPED` says that what follows are such objects, so that
a service's own JSON is never taken for one.
"""

import json
from functools import lru_cache
from typing import cast

__all__ = ["ENVELOPED", "encode_envelope", "open_envelope"]

ENVELOPED = 0x80
"""Bit of a record's stream: the bytes are objects, one a line."""


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@lru_cache(maxsize=8)
def _head(service: str, run: str, stream: str, at_wall: float) -> str:
    """Return an object up to the text of its message: the same for all lines of one turn."""
    from datetime import UTC, datetime  # noqa: PLC0415  # for logs that are written as JSON

    at = datetime.fromtimestamp(at_wall, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    members = {"time": at, "service": service, "run": run, "stream": stream}
    return f'{_encode(members)[:-1]},"message":'


def encode_envelope(
    *, service: str, run: str, stream: str, at_wall: float, data: bytes, complete: bool
) -> bytes:
    r"""Return a line as an object with its newline; bytes that are not UTF-8 are spelled out as `\xff`.

    Args:
        service: Who wrote it.
        run: Run id.
        stream: `stdout` or `stderr`; empty: the logger itself.
        at_wall: When it was read, seconds since the epoch.
        data: The line, without its newline.
        complete: False: a part of a line that goes on in the next object of this stream, or has no end.
    """
    message = _encode(data.decode("utf-8", "backslashreplace"))
    tail = "}\n" if complete else ',"partial":true}\n'
    return f"{_head(service, run, stream, at_wall)}{message}{tail}".encode()


def open_envelope(data: bytes) -> tuple[bytes, bool] | None:
    """Return the line in an object and whether it is complete; None when this is no such object."""
    try:
        members = json.loads(data)
    except ValueError:
        return None
    if not isinstance(members, dict):
        return None
    fields = cast("dict[str, object]", members)
    message = fields.get("message")
    if not isinstance(message, str):
        return None
    return message.encode("utf-8", "backslashreplace"), fields.get("partial") is not True
