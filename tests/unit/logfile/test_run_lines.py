"""A run's lines come whole, once and from its first one on, whatever becomes of the files in between."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.logfile import run_lines as run_lines_module
from orchestra_supervisor.logfile.run_lines import RunLines
from tests.unit.logfile.log_builder import LogBuilder

OLD, NOW = 5, 0xABCDEF
RUN = f"web-{NOW:012x}"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def read_all(reader: RunLines) -> list[bytes]:
    lines = [line.data for line in reader.read()]
    while not reader.is_at_end:
        lines += [line.data for line in reader.read()]
    return lines


@pytest.fixture
def log(tmp_path: Path) -> LogBuilder:
    return LogBuilder(tmp_path / "web.log")


@pytest.fixture
def reader(log: LogBuilder) -> RunLines:
    return RunLines(str(log.path), RUN)


def test_only_lines_of_the_run_are_handed_out_each_once(log: LogBuilder, reader: RunLines) -> None:
    log.write("stdout", OLD, b"old\n")
    log.write("stdout", NOW, b"one\n")
    log.write("stderr", OLD, b"a leftover's\n")
    log.write("stderr", NOW, b"two\n")
    assert read_all(reader) == [b"one", b"two"]
    assert read_all(reader) == []
    log.write("stdout", NOW, b"three\n")
    assert read_all(reader) == [b"three"]


def test_a_run_that_has_written_nothing_yet_is_waited_for(log: LogBuilder, reader: RunLines) -> None:
    log.write("stdout", OLD, b"old\n")
    assert read_all(reader) == []
    log.write("stdout", OLD, b"older still\n")
    assert read_all(reader) == []
    log.write("stdout", NOW, b"one\n")
    assert read_all(reader) == [b"one"]


def test_a_log_that_is_not_there_yet_or_has_no_index_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    reader = RunLines(str(path), RUN)
    assert read_all(reader) == []
    path.write_bytes(b"somebody's\n")
    assert read_all(reader) == []
    path.unlink()
    LogBuilder(path).write("stdout", NOW, b"one\n")
    assert read_all(reader) == [b"one"]


def test_a_line_is_held_back_until_its_end(log: LogBuilder, reader: RunLines) -> None:
    log.write("stdout", NOW, b"listen")
    assert read_all(reader) == []
    log.write("stdout", NOW, b"ing\nprompt> ")
    assert read_all(reader) == [b"listening"]
    log.end("stdout", NOW)
    assert read_all(reader) == [b"prompt> "]


@pytest.mark.parametrize("packed", [False, True])
def test_a_rotation_in_the_middle_of_a_line_does_not_tear_it(
    log: LogBuilder, reader: RunLines, packed: bool
) -> None:
    log.write("stdout", NOW, b"one\nlist")
    assert read_all(reader) == [b"one"]
    log.write("stdout", NOW, b"en")
    log.rotate(packed=packed)
    log.write("stdout", NOW, b"ing\n")
    log.rotate(packed=packed)
    log.write("stdout", NOW, b"three\n")
    assert read_all(reader) == [b"listening", b"three"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_new_reader_begins_with_the_first_line_of_the_run(log: LogBuilder, packed: bool) -> None:
    log.write("stdout", OLD, b"old\n")
    log.rotate(packed=packed)
    log.write("stdout", OLD, b"old, too\n")
    log.write("stdout", NOW, b"one\n")
    log.rotate(packed=packed)
    log.write("stdout", NOW, b"two\n")
    log.rotate(packed=packed)
    assert read_all(RunLines(str(log.path), RUN)) == [b"one", b"two"]


def test_what_was_rotated_and_removed_is_passed_over(log: LogBuilder, reader: RunLines) -> None:
    log.write("stdout", NOW, b"one\n")
    assert read_all(reader) == [b"one"]
    gone = log.rotate(packed=False)
    log.write("stdout", NOW, b"two\n")
    for path in (gone, f"{gone}.idx"):
        Path(path).unlink()
    assert read_all(reader) == [b"two"]


def test_a_step_is_bounded_and_the_next_one_goes_on(
    log: LogBuilder, reader: RunLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lines_module, "_STEP", 8)
    log.write("stdout", NOW, b"one\ntwo\nthree\n")
    assert [line.data for line in reader.read()] == [b"one", b"two"]
    assert not reader.is_at_end
    assert read_all(reader) == [b"three"]


def test_nothing_stays_open_between_reads(log: LogBuilder, reader: RunLines) -> None:
    log.write("stdout", NOW, b"one\n")
    before = open_files()
    log.rotate(packed=True)
    assert read_all(reader) == [b"one"]
    assert open_files() == before


def test_a_run_id_without_digits_has_no_lines(log: LogBuilder) -> None:
    log.write("stdout", 0, b"nobody's\n")
    assert read_all(RunLines(str(log.path), "web")) == []


SOURCES = st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from([OLD, NOW]))
DATA = st.lists(st.sampled_from([b"\n", b"a", b"\xff"]), min_size=1).map(b"".join)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), SOURCES, DATA),
        st.tuples(st.just("write"), SOURCES, DATA),
        st.tuples(st.sampled_from(["rotate", "pack", "drop", "read"]), st.none(), st.none()),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(steps=STEPS, step=st.integers(1, 50), always=st.booleans())
def test_a_reader_misses_and_doubles_nothing(
    steps: list[tuple[str, tuple[str, int] | None, bytes | None]], step: int, always: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        for name in ("_STEP", "_ROTATED_STEP", "_BLOCK"):
            patch.setattr(run_lines_module, name, step)
        builder = LogBuilder(Path(directory) / "web.log", records_always=always)
        builder.write("stdout", NOW, b"begin\n")  # so that no segment before the run's first is without it
        reader = RunLines(str(builder.path), RUN)
        lines = reader.read()
        for what, source, data in steps:
            if source is not None and data is not None:
                builder.write(*source, data)
            elif what == "drop":
                builder.drop("stdout", NOW)
            elif what == "read":
                lines += reader.read()
            else:
                builder.rotate(packed=what == "pack")
        builder.drop("stdout", NOW)  # no line is waited for any more
        lines += reader.read()
        while not reader.is_at_end:
            lines += reader.read()
        for stream in ("stdout", "stderr"):
            ours = [line[2:] for line in builder.lines if line[:2] == (stream, NOW)]
            assert [(line.data, line.complete) for line in lines if line.stream == stream] == ours
