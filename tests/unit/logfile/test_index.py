"""Records survive encoding; recovery leaves an index that fits its log, and says when it had to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestra_supervisor.logfile.index import (
    HEADER_SIZE,
    MAGIC,
    RECORD_SIZE,
    Flag,
    Record,
    decode_header,
    decode_record,
    encode_header,
    encode_record,
    iter_records,
    recover_index,
    run_number,
    run_text,
)

U64 = st.integers(0, 2**64 - 1)
RECORDS = st.builds(Record, U64, U64, U64, st.integers(0, 255), st.integers(0, 255))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "web.log.idx", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 20, 0)


def fill(fd: int, *records: Record, tail: bytes = b"") -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, encode_header(77) + b"".join(map(encode_record, records)) + tail, 0)


def record(offset: int, stream: int = 1) -> Record:
    return Record(1_000 + offset, offset, 0xABC, stream)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(written: Record) -> None:
    data = encode_record(written)
    assert len(data) == RECORD_SIZE
    assert decode_record(data) == written


@given(RECORDS, st.integers(0, RECORD_SIZE * 8 - 1))
def test_a_record_with_any_bit_turned_is_refused(written: Record, bit: int) -> None:
    data = bytearray(encode_record(written))
    data[bit // 8] ^= 1 << bit % 8
    assert decode_record(bytes(data)) is None


def test_the_bytes_are_those_of_the_diagram() -> None:
    data = encode_record(Record(0x0102030405060708, 0x1112131415161718, 0x212223242526, 2, Flag.DROPPED))
    assert data[:28].hex() == "01020304050607081112131415161718000021222324252602020000"
    header = encode_header(0x0A0B0C0D)
    assert header[:28] == MAGIC + bytes.fromhex("00010020000000000a0b0c0d0000000000000000")
    assert len(header) == HEADER_SIZE
    assert decode_header(header) == 0x0A0B0C0D


def test_another_version_or_a_cut_header_is_no_header() -> None:
    assert decode_header(encode_header(1)[:-1]) is None
    assert decode_header(b"ORCHLIDX\x00\x02" + encode_header(1)[10:]) is None
    assert decode_header(b"") is None


def test_run_numbers_are_the_digits_at_the_end_of_the_run_id() -> None:
    assert run_text(run_number("web.api-00ab12cd34ef")) == "00ab12cd34ef"
    assert run_number("odd") == run_number("no-hex-digits-here") == 0
    assert run_text(0) == ""


def test_a_sound_index_is_left_as_it_is(index: int) -> None:
    fill(index, record(0), record(10))
    before = content(index)
    found = recover_index(index, 10, 99)
    assert (found.end, found.segment_id, found.last, found.repaired) == (len(before), 77, record(10), False)
    assert content(index) == before


def test_an_index_of_a_new_log_is_made_and_that_is_no_repair(index: int) -> None:
    assert recover_index(index, 0, 99) == (HEADER_SIZE, 99, None, False)
    assert decode_header(content(index)) == 99


@pytest.mark.parametrize("tail", [b"\x00", b"\x00" * RECORD_SIZE, b"\xff" * (RECORD_SIZE * 2 + 5)])
def test_torn_and_damaged_records_are_cut_off_and_the_guess_is_marked(index: int, tail: bytes) -> None:
    fill(index, record(0), record(10, stream=2), tail=tail)
    found = recover_index(index, 30, 99)
    assert found.repaired
    assert list(iter_records(content(index)[HEADER_SIZE:])) == [
        record(0),
        record(10, stream=2),
        record(10, stream=2)._replace(flags=Flag.RECOVERED),
    ]
    again = recover_index(index, 30, 99)
    assert not again.repaired, "what has been repaired is sound"


def test_records_beyond_the_end_of_the_log_are_cut_off(index: int) -> None:
    fill(index, record(0), record(10), record(20), record(30))
    found = recover_index(index, 15, 99)
    assert (found.last, found.repaired) == (record(10), True)
    assert list(iter_records(content(index)[HEADER_SIZE:])) == [record(0), record(10)]


def test_bytes_that_no_record_speaks_of_are_marked_as_of_nobody(index: int) -> None:
    os.pwrite(index, b"something else entirely", 0)
    found = recover_index(index, 15, 99)
    assert (found.last, found.repaired) == (Record(0, 0, 0, 0, Flag.RECOVERED), True)
    assert content(index) == encode_header(99) + encode_record(Record(0, 0, 0, 0, Flag.RECOVERED))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    records=st.lists(st.integers(0, 1000), max_size=30).map(sorted),
    cut=st.integers(0, 40 * RECORD_SIZE),
    junk=st.binary(max_size=80),
    log_size=st.integers(0, 1200),
)
@example(records=[47], cut=63, junk=b"\x8b", log_size=47)
def test_recovery_is_final_and_keeps_every_sound_record_that_fits(
    index: int, records: list[int], cut: int, junk: bytes, log_size: int
) -> None:
    fill(index, *(record(offset) for offset in records))
    whole = content(index)
    os.ftruncate(index, min(cut, len(whole)))
    os.pwrite(index, junk, os.fstat(index).st_size)
    # Junk may by chance be the very bytes that were cut off: such a record is sound again.
    spoilt = content(index)
    ends = range(HEADER_SIZE + RECORD_SIZE, len(whole) + 1, RECORD_SIZE)
    kept = sum(spoilt[:end] == whole[:end] for end in ends)
    found = recover_index(index, log_size, 99)
    assert os.fstat(index).st_size == found.end
    left = list(iter_records(content(index)[HEADER_SIZE:]))
    if cut >= HEADER_SIZE:
        fitting = [record(offset) for offset in records[:kept] if offset <= log_size]
        assert left[: len(fitting)] == fitting
        assert all(each.flags == Flag.RECOVERED for each in left[len(fitting) :])
    assert found.last == (left[-1] if left else None)
    assert recover_index(index, log_size, 100) == found._replace(repaired=False)
