"""The index beside a log file: whose bytes begin where, and when.

A header and fixed-size records, each meaning "from this offset on, the bytes are of this stream
and run, and came at this time". A record is written before the bytes it speaks of, so that a
logger that dies in between leaves a record too many, never bytes of an unknown owner.
docs/log-format.md has the byte diagrams and the recovery rules.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from enum import IntFlag
from typing import NamedTuple

__all__ = [
    "HEADER_SIZE",
    "INDEX_SUFFIX",
    "MAGIC",
    "RECORD_SIZE",
    "STREAM_CODES",
    "STREAM_NAMES",
    "VERSION",
    "Flag",
    "Record",
    "Recovery",
    "decode_header",
    "decode_record",
    "encode_header",
    "encode_record",
    "encode_run",
    "iter_records",
    "pread_exactly",
    "pwrite_exactly",
    "recover_index",
    "run_number",
    "run_text",
]

MAGIC = b"ORCHLIDX"
VERSION = 1
INDEX_SUFFIX = ".idx"
HEADER_SIZE = 32
RECORD_SIZE = 32
"""Bytes. A divisor of every page size: a record never straddles pages, so a kill cannot tear one."""

STREAM_CODES = {"stdout": 1, "stderr": 2}
STREAM_NAMES = ("", "stdout", "stderr")
"""Stream names by code; code 0 (and any unknown one) is a stream that nobody knows any more."""

_HEADER = struct.Struct(">8sHHQQ")  # magic, version, record size, segment id, reserved; then the check sum
_RECORD = struct.Struct(">QQQBBH")  # time_ns, offset, run, stream, flags, reserved; then the check sum
_CHECK = struct.Struct(">I")
_SCAN = 4096  # records read at once while looking back for the last sound one


class Flag(IntFlag):
    """What a record says beyond whose bytes follow."""

    RECOVERED = 1
    """Whose bytes follow is a guess: the index was damaged or missing here and has been repaired."""
    DROPPED = 2
    """Bytes are missing just before this offset: the file could not be written. No line continues over it."""
    END = 4
    """The stream of this run has ended; nothing of it follows."""


class Record(NamedTuple):
    """One record of the index.

    Attributes:
        time_ns: Nanoseconds since the epoch; 0: unknown.
        offset: First byte of the log file that it speaks of.
        run: The 12 hex digits at the end of the run id, as a number; 0: unknown.
        stream: A value of `STREAM_CODES`; 0: unknown.
        flags: Bits of `Flag`.
    """

    time_ns: int
    offset: int
    run: int
    stream: int
    flags: int = 0


class Recovery(NamedTuple):
    """What `recover_index` found.

    Attributes:
        end: Size of the index now, in bytes: where the next record goes.
        segment_id: Identity of the segment.
        last: The record in force at the end of the log file, if there is one.
        repaired: True when something was wrong and has been set right.
    """

    end: int
    segment_id: int
    last: Record | None
    repaired: bool


def run_number(run: str) -> int:
    """Return the 12 hex digits at the end of a run id as a number, 0 when it has none."""
    try:
        return int(run[-12:], 16) if len(run) >= 12 else 0
    except ValueError:
        return 0


def run_text(number: int) -> str:
    """Return the 12 hex digits of a run number, empty when it is unknown."""
    return f"{number:012x}" if number else ""


def encode_header(segment_id: int) -> bytes:
    """Encode the header of a segment's index.

    Args:
        segment_id: Nanoseconds since the epoch at its creation; grows from segment to segment of a log.
    """
    body = _HEADER.pack(MAGIC, VERSION, RECORD_SIZE, segment_id, 0)
    return body + _CHECK.pack(zlib.crc32(body))


def decode_header(data: bytes) -> int | None:
    """Return the segment id, or None when this is not a sound header of this version."""
    if len(data) < HEADER_SIZE or _CHECK.unpack_from(data, _HEADER.size)[0] != zlib.crc32(
        data[: _HEADER.size]
    ):
        return None
    magic, version, record_size, segment_id, _ = _HEADER.unpack_from(data)
    return segment_id if (magic, version, record_size) == (MAGIC, VERSION, RECORD_SIZE) else None


def encode_record(record: Record) -> bytes:
    """Encode one record."""
    body = _RECORD.pack(*record, 0)
    return body + _CHECK.pack(zlib.crc32(body))


def encode_run(run: int) -> bytes:
    """Return a run number as it stands in its records, to look for it in many of them."""
    return run.to_bytes(8, "big")


def decode_record(data: bytes, at: int = 0) -> Record | None:
    """Return the record at a position of `data`, or None when its check sum is wrong or it is cut short."""
    body = data[at : at + _RECORD.size]
    if len(data) < at + RECORD_SIZE or _CHECK.unpack_from(data, at + _RECORD.size)[0] != zlib.crc32(body):
        return None
    time_ns, offset, run, stream, flags, _ = _RECORD.unpack(body)
    return Record(time_ns, offset, run, stream, flags)


def iter_records(data: bytes) -> Iterator[Record]:
    """Yield the sound records of a block that begins at a record; damaged ones are passed over."""
    for at in range(0, len(data) - RECORD_SIZE + 1, RECORD_SIZE):
        record = decode_record(data, at)
        if record is not None:
            yield record


def pread_exactly(fd: int, size: int, offset: int) -> bytes:
    """Read `size` bytes at `offset`, fewer only at the end of the file.

    Raises:
        OSError: The file cannot be read.
    """
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(fd, size, offset)
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def pwrite_exactly(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`.

    Raises:
        OSError: The file cannot be written, or not wholly; part of it may have been.
    """
    while data:
        done = os.pwrite(fd, data, offset)
        data = data[done:]
        offset += done


def recover_index(fd: int, log_size: int, new_id: int) -> Recovery:
    """Make the index fit its log file again, after whatever happened to the two.

    A torn or damaged last record and records beyond the end of the log are cut off. Bytes whose owner
    the index does not know any more are marked with a `RECOVERED` record, of the last known stream.

    Args:
        fd: The index, open for reading and writing.
        log_size: Bytes in the log file.
        new_id: Segment id for an index that has to be made anew.

    Raises:
        OSError: The index cannot be read or written.
    """
    size = os.fstat(fd).st_size
    segment_id = decode_header(pread_exactly(fd, HEADER_SIZE, 0))
    if segment_id is None:
        os.ftruncate(fd, 0)
        pwrite_exactly(fd, encode_header(new_id), 0)
        segment_id, end, last, damaged = new_id, HEADER_SIZE, None, log_size > 0
        repaired = damaged
    else:
        end, last, damaged = _sound_end(fd, size, log_size)
        repaired = end != size
        if repaired:
            os.ftruncate(fd, end)
    unowned = last is None and log_size > 0
    if unowned or (damaged and last is not None and last.offset < log_size):
        last = (last or Record(0, 0, 0, 0))._replace(flags=int(Flag.RECOVERED))
        pwrite_exactly(fd, encode_record(last), end)
        end += RECORD_SIZE
        repaired = True
    return Recovery(end, segment_id, last, repaired)


def _sound_end(fd: int, size: int, log_size: int) -> tuple[int, Record | None, bool]:
    """Return where the sound records end, the last of them, and whether a damaged one follows it."""
    count, torn = divmod(size - HEADER_SIZE, RECORD_SIZE)
    damaged = torn > 0
    while count > 0:
        first = max(0, count - _SCAN)
        block = pread_exactly(fd, (count - first) * RECORD_SIZE, HEADER_SIZE + first * RECORD_SIZE)
        while count > first:
            record = decode_record(block, (count - first - 1) * RECORD_SIZE)
            if record is not None and record.offset <= log_size:
                return HEADER_SIZE + count * RECORD_SIZE, record, damaged
            damaged = damaged or record is None
            count -= 1
    return HEADER_SIZE, None, damaged
