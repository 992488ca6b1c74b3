"""The files that make up one log: their names and their order.

`app.log` is written; `app.log.20260131T235959.000001Z` was rotated at that instant (UTC), and may
have been packed to `...Z.gz`. Every segment has its index beside it: `app.log.idx`, `...Z.idx`, the
latter plain even when the segment is packed.
"""

import os
import re
from dataclasses import dataclass

from orchestra_supervisor.logfile.index import HEADER_SIZE, INDEX_SUFFIX, decode_header

__all__ = [
    "GZIP_SUFFIX",
    "TEMP_SUFFIX",
    "Segment",
    "list_segments",
    "parse_stamp",
    "segment_id_of",
    "split_name",
    "stamp_of",
    "stamp_wall",
]

GZIP_SUFFIX = ".gz"
TEMP_SUFFIX = ".gz.tmp"
"""Of the file into which a segment is being packed."""

_STAMP = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(
    r"(?P<log>.+)\.(?P<stamp>\d{8}T\d{6}\.\d{6}Z)(?P<kind>|\.gz|\.gz\.tmp|\.idx)", re.ASCII | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A rotated segment.

    Attributes:
        path: Where it is or was before it was packed, without `.gz`.
        stamp: When it was rotated, as in its name.
        plain: It exists unpacked. A packed twin beside it is not finished with, and ignored.
    """

    path: str
    stamp: str
    plain: bool


def stamp_of(time_ns: int, after: str = "") -> str:
    """Return the stamp of an instant, or of the first microsecond after another stamp if that is later.

    Args:
        time_ns: Nanoseconds since the epoch.
        after: Stamp of the segment before, or empty. Names keep their order even when the clock steps back.
    """
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415  # 0.4 MB that is used when one is rotated

    micros = time_ns // 1000
    if after:
        micros = max(micros, parse_stamp(after) + 1)
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)).strftime(_STAMP)


def parse_stamp(stamp: str) -> int:
    """Return the instant of a stamp in microseconds since the epoch.

    Raises:
        ValueError: It is not one.
    """
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415  # likewise

    instant = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    return (instant - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def stamp_wall(stamp: str) -> float:
    """Return the instant of a stamp in seconds since the epoch, 0 when it names no day of the calendar."""
    try:
        return parse_stamp(stamp) / 1e6
    except ValueError:
        return 0.0


def split_name(name: str) -> tuple[str, str, str] | None:
    """Split the file name of a rotated segment, or of what belongs to one.

    Returns:
        Name of the log, stamp, and what it is (empty, `.gz`, `.gz.tmp` or `.idx`); None for any other file.
    """
    match = _NAME.fullmatch(name)
    return (match["log"], match["stamp"], match["kind"]) if match else None


def list_segments(path: str) -> list[Segment]:
    """Return the rotated segments of a log, the oldest first; none when the directory is not there.

    Raises:
        OSError: The directory cannot be read.
    """
    directory, base = os.path.split(path)
    kinds: dict[str, set[str]] = {}
    try:
        names = os.listdir(directory or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    for name in names:
        parts = split_name(name) if name.startswith(base) else None
        if parts is not None and parts[0] == base and parts[2] in {"", GZIP_SUFFIX}:
            kinds.setdefault(parts[1], set()).add(parts[2])
    return [Segment(f"{path}.{stamp}", stamp, "" in kinds[stamp]) for stamp in sorted(kinds)]


def segment_id_of(path: str) -> int | None:
    """Return the segment id in the index of a log file or rotated segment; None when there is no sound one.

    Args:
        path: The segment's path, without `.gz`.
    """
    try:
        with open(path + INDEX_SUFFIX, "rb") as index:
            return decode_header(index.read(HEADER_SIZE))
    except OSError:
        return None
