"""Reading backwards gives the lines that were written, whatever lies between their bytes."""

import os
import re
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.logfile import reader
from orchestra_supervisor.logfile.lines import MAX_LINE, LogLine
from orchestra_supervisor.logfile.reader import read_lines
from tests.unit.logfile.log_builder import LogBuilder, ModelLine

STREAMS = st.sampled_from(["stdout", "stderr"])
RUNS = st.sampled_from([1, 2, 0xFFFFFFFFFFFF])
CHUNKS = st.tuples(
    st.just("write"),
    STREAMS,
    RUNS,
    st.lists(st.sampled_from([b"\n", b"a", b"\x00", b"\xff"]), min_size=1).map(b"".join),
)
ROTATIONS = st.tuples(st.just("rotate"), st.booleans())
LOSSES = st.tuples(st.just("drop"), STREAMS, RUNS)
STEPS = st.lists(st.one_of(CHUNKS, CHUNKS, CHUNKS, ROTATIONS, LOSSES), max_size=30)


def model(lines: list[LogLine]) -> list[ModelLine]:
    return [(line.stream, int(line.run or "0", 16), line.data, line.complete) for line in lines]


def play(builder: LogBuilder, steps: list[tuple[object, ...]]) -> None:
    for step in steps:
        if step[0] == "write":
            builder.write(step[1], step[2], step[3])  # type: ignore[arg-type]  # as the strategies made them
        elif step[0] == "rotate":
            builder.rotate(packed=bool(step[1]))
        else:
            builder.drop(step[1], step[2])  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    steps=STEPS,
    limit=st.one_of(st.none(), st.integers(0, 20)),
    records_always=st.booleans(),
    block=st.integers(1, 9),
)
def test_lines_equal_the_model(
    steps: list[tuple[object, ...]], limit: int | None, records_always: bool, block: int
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_FIRST_BLOCK", block)
        patch.setattr(reader, "_LAST_BLOCK", 64)
        builder = LogBuilder(Path(directory) / "web.log", records_always=records_always)
        play(builder, steps)
        expected = builder.lines
        found = model(read_lines(str(builder.path), limit=limit))
        assert found == (expected if limit is None else expected[max(0, len(expected) - limit) :])


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, since=st.integers(0, 40), limit=st.one_of(st.none(), st.integers(1, 5)))
def test_since_leaves_out_lines_that_began_before(
    steps: list[tuple[object, ...]], since: int, limit: int | None
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_FIRST_BLOCK", 5)
        builder = LogBuilder(Path(directory) / "web.log", records_always=True)
        play(builder, steps)
        everything = read_lines(str(builder.path), limit=None)
        wanted = [line for line in everything if line.at_wall >= since]
        found = read_lines(str(builder.path), limit=limit, since_wall=float(since))
        assert found == (wanted if limit is None else wanted[max(0, len(wanted) - limit) :])


@pytest.mark.parametrize("is_rotated", [False, True])
def test_since_finds_what_came_before_a_time_in_which_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_rotated: bool
) -> None:
    monkeypatch.setattr(reader, "_FIRST_BLOCK", 64)
    monkeypatch.setattr(reader, "_LAST_BLOCK", 64)
    builder = LogBuilder(tmp_path / "web.log", records_always=True)
    for clock, count in ((100, 50), (1000, 200), (10, 60), (2000, 20)):
        builder.set_clock(clock)
        for number in range(count):
            builder.write("stdout", 1, b"%d of %d\n" % (number, clock))
        if is_rotated:
            builder.rotate(packed=True)
    lines = [line.data for line in read_lines(str(builder.path), limit=None, since_wall=1000.0)]
    assert lines == [
        b"%d of %d" % (n, clock) for clock, count in ((1000, 200), (2000, 20)) for n in range(count)
    ]


def test_since_reads_no_more_of_a_log_than_its_end(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log", records_always=True)
    for number in range(4_000):
        builder.write("stdout", 1, b"%d %s\n" % (number, b"x" * 200))
    since = builder.now - 9
    read_before = characters_read()
    assert len(read_lines(str(builder.path), limit=None, since_wall=since)) == 10
    assert characters_read() - read_before < 200_000


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, limit=st.integers(1, 5))
def test_a_pattern_finds_the_newest_lines_that_match(steps: list[tuple[object, ...]], limit: int) -> None:
    pattern = re.compile(rb"a\x00|^a*$")
    with tempfile.TemporaryDirectory() as directory:
        builder = LogBuilder(Path(directory) / "web.log")
        play(builder, steps)
        wanted = [line for line in builder.lines if pattern.search(line[2])]
        assert model(read_lines(str(builder.path), limit=limit, pattern=pattern)) == wanted[-limit:]


def test_a_line_has_the_time_of_its_first_byte(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stdout", 1, b"beg")
    first = builder.now
    builder.write("stderr", 1, b"between\n")
    second = builder.now
    builder.write("stdout", 1, b"un\n")
    builder.write("stdout", 1, b"same record\n")
    third = builder.now - 1
    found = read_lines(str(builder.path), limit=None)
    assert [(line.data, line.at_wall) for line in found] == [
        (b"between", second),
        (b"begun", first),
        (b"same record", third),
    ]


def test_a_line_of_a_gigabyte_log_is_found_by_reading_its_end_alone(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    builder = LogBuilder(path)
    os.truncate(path, 1 << 30)  # a hole: it would take long to read
    builder.offset = 1 << 30  # the builder goes on behind the hole
    for number in range(5000):
        builder.write("stdout", 7, b"line %d\n" % number)
    read_before = characters_read()
    found = read_lines(str(path), limit=10)
    assert [line.data for line in found] == [b"line %d" % number for number in range(4990, 5000)]
    assert characters_read() - read_before < 2_000_000


def characters_read() -> int:
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def test_a_stream_seen_for_the_first_time_does_not_send_the_reader_to_the_beginning(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    for _ in range(12):
        builder.write("stdout", 7, b"x" * 999_999 + b"\n")
    builder.write("stderr", 7, b"at last an error\n")
    read_before = characters_read()
    assert read_lines(str(builder.path), limit=1)[0].data == b"at last an error"
    assert characters_read() - read_before < 8_000_000


def test_longer_lines_than_the_limit_come_in_parts(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    text = bytes(range(97, 122)) * (MAX_LINE // 10)
    builder.write("stdout", 1, text + b"\nnext\n")
    found = read_lines(str(builder.path), limit=None)
    assert [line.complete for line in found] == [False, False, True, True]
    assert max(len(line.data) for line in found) == MAX_LINE
    assert b"".join(line.data for line in found[:-1]) == text


def test_a_line_of_exactly_the_limit_is_whole(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stdout", 1, b"y" * MAX_LINE + b"\n")
    assert [(len(line.data), line.complete) for line in read_lines(str(builder.path), limit=None)] == [
        (MAX_LINE, True)
    ]


def test_a_file_without_index_is_read_with_time_unknown(tmp_path: Path) -> None:
    path = tmp_path / "other.log"
    path.write_bytes(b"one\r\n\ntwo")
    found = read_lines(str(path), limit=None)
    assert [(line.at_wall, line.stream, line.run, line.data, line.complete) for line in found] == [
        (0.0, "", "", b"one\r", True),
        (0.0, "", "", b"", True),
        (0.0, "", "", b"two", False),
    ]
    assert read_lines(str(path), limit=None, since_wall=time.time() - 60) == []


def test_a_log_that_does_not_exist_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(str(tmp_path / "nowhere" / "web.log"), limit=None) == []


def test_a_log_that_is_no_file_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "web.log")
    with pytest.raises(OSError, match="not a regular file"):
        read_lines(str(tmp_path / "web.log"), limit=1)


def test_a_damaged_pack_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    for number in range(2000):
        builder.write("stdout", 1, b"%d\n" % (number * 2_654_435_761 % 1_000_003))
    expected = [line[2] for line in builder.lines]
    packed = Path(builder.rotate(packed=True) + ".gz")
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    found = [line.data for line in read_lines(str(builder.path), limit=None)]
    assert len(found) > 100
    assert found[:-1] == expected[: len(found) - 1]


def test_damaged_records_in_the_middle_of_an_index_are_passed_over(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log", records_always=True)
    for number in range(50):
        builder.write("stdout", 1, b"%d\n" % number)
    index = Path(f"{builder.path}.idx")
    data = bytearray(index.read_bytes())
    data[32 * 20 : 32 * 25] = bytes(32 * 5)
    index.write_bytes(data)
    assert [line.data for line in read_lines(str(builder.path), limit=None)] == [b"%d" % n for n in range(50)]
    assert [line.data for line in read_lines(str(builder.path), limit=3)] == [b"47", b"48", b"49"]


def test_what_an_empty_segment_says_of_the_one_before_it_counts(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stdout", 1, b"cut by a rotation")
    builder.rotate(packed=False)
    builder.drop("stdout", 1)
    builder.rotate(packed=False)
    builder.write("stdout", 1, b" and lost\n")
    found = read_lines(str(builder.path), limit=None)
    assert [(line.data, line.complete) for line in found] == [
        (b"cut by a rotation", False),
        (b" and lost", True),
    ]
