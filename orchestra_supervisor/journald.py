"""The systemd journal as a reader of lines and of entries; standard library alone, for all of our processes.

Source: sd-daemon(3), "prefixes"; systemd.exec(5), `JOURNAL_STREAM`; systemd's "Native Journal Protocol".
"""

import os
import re
import struct
from collections.abc import Mapping

__all__ = ["ERROR", "INFO", "NOTICE", "WARNING", "encode_entry", "is_journal", "with_priority"]

ERROR = 3
WARNING = 4
NOTICE = 5
INFO = 6

_STREAM = "JOURNAL_STREAM"
_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}")  # one that begins with an underscore is the journal's own


def is_journal(fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """True when a descriptor leads to the journal itself, and not only did when this unit was started."""
    device, _, inode = environ.get(_STREAM, "").partition(":")
    if not inode:
        return False
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def with_priority(text: str, priority: int, fd: int = 2) -> str:
    """Return text as it goes to a descriptor: each line with its priority where the journal reads it.

    Args:
        text: One or more lines.
        priority: One of those above, as syslog(3) numbers them.
        fd: Where it goes.
    """
    if not is_journal(fd):
        return text
    return re.sub(r"^(?=.)", f"<{priority}>", text, flags=re.MULTILINE)


def encode_entry(fields: Mapping[str, str]) -> bytes:
    """Return an entry in the journal's own form.

    Args:
        fields: Values by name: upper case letters, digits and underscores, a letter first.
    """
    parts: list[bytes] = []
    for name, value in fields.items():
        assert _FIELD.fullmatch(name), name
        data = value.encode("utf-8", "surrogateescape")
        if b"\n" in data:
            parts.append(name.encode("ascii") + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode("ascii") + b"=" + data + b"\n")
    return b"".join(parts)
