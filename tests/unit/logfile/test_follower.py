"""Following hands out every line once, whatever happens to the files in between."""

import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.logfile import follower as follower_module
from orchestra_supervisor.logfile.follower import Follower, tail_and_follow
from orchestra_supervisor.logfile.lines import LogLine
from tests.unit.logfile.log_builder import LogBuilder, ModelLine

STREAMS = st.sampled_from(["stdout", "stderr"])
DATA = st.lists(st.sampled_from([b"\n", b"a", b"\x00", b"\xff"]), min_size=1).map(b"".join)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), STREAMS, DATA),
        st.tuples(st.just("write"), STREAMS, DATA),
        st.tuples(st.sampled_from(["rotate", "rotate and pack", "drop"])),
        st.tuples(st.just("poll")),
    ),
    max_size=40,
)
RUN = 5


def play(
    builder: LogBuilder, steps: Iterable[tuple[str | bytes, ...]], follower: Follower | None
) -> list[LogLine]:
    lines: list[LogLine] = []
    for what, *rest in steps:
        if what == "write":
            builder.write(str(rest[0]), RUN, bytes(rest[1]))  # type: ignore[arg-type]  # as the strategy made them
        elif what == "drop":
            builder.drop("stdout", RUN)
        elif what == "poll":
            lines += follower.poll() if follower else []
        else:
            builder.rotate(packed=what == "rotate and pack")
    return lines


def poll_all(follower: Follower) -> list[LogLine]:
    lines: list[LogLine] = []
    while got := follower.poll():
        lines += got
    return lines


def of_stream(lines: list[ModelLine], stream: str) -> list[tuple[bytes, bool]]:
    return [(data, complete) for name, _, data, complete in lines if name == stream]


@settings(max_examples=150, deadline=None)
@given(before=STEPS, after=STEPS, poll_limit=st.integers(1, 50))
def test_tail_and_follow_miss_and_double_nothing(
    before: list[tuple[str | bytes, ...]], after: list[tuple[str | bytes, ...]], poll_limit: int
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(follower_module, "_POLL_LIMIT", poll_limit)
        patch.setattr(follower_module, "_BLOCK", poll_limit)
        builder = LogBuilder(Path(directory) / "web.log")
        play(builder, before, None)
        lines, follower = tail_and_follow(str(builder.path), 1000)
        with follower:
            lines += play(builder, after, follower)
            lines += poll_all(follower)
            builder.drop("stdout", RUN)  # no line is waited for any more
            lines += poll_all(follower)
        found: list[ModelLine] = [
            (line.stream, int(line.run, 16), line.data, line.complete) for line in lines
        ]
        for stream in ("stdout", "stderr"):
            assert of_stream(found, stream) == of_stream(builder.lines, stream)
        assert all(line.at_wall > 0 for line in lines)


def test_a_follower_begins_at_the_end_and_gives_a_line_begun_before_whole(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stdout", 1, b"old\nbeg")
    begun = builder.now
    with Follower(str(builder.path)) as follower:
        assert follower.poll() == []
        builder.write("stderr", 1, b"between\n")
        builder.write("stdout", 1, b"un\n")
        lines = follower.poll()
        assert [line.data for line in lines] == [b"between", b"begun"]
        assert lines[1].at_wall == begun
        assert follower.poll() == []


def test_an_unfinished_line_is_held_back_until_its_stream_ends(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    with Follower(str(builder.path)) as follower:
        builder.write("stdout", 1, b"Password: ")
        assert follower.poll() == []
        builder.end("stdout", 1)
        assert [(line.data, line.complete) for line in follower.poll()] == [(b"Password: ", False)]
        builder.write("stdout", 2, b"next run\n")
        assert [line.data for line in follower.poll()] == [b"next run"]


def test_the_last_line_of_a_run_that_ended_is_in_the_tail_not_held_back(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stderr", 1, b"Segmentation fault")
    builder.end("stderr", 1)
    lines, follower = tail_and_follow(str(builder.path), 10)
    with follower:
        assert [(line.data, line.complete) for line in lines] == [(b"Segmentation fault", False)]
        assert follower.poll() == []


def test_a_log_that_does_not_exist_yet_is_followed_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    with Follower(str(path)) as follower:
        assert follower.poll() == []
        path.parent.mkdir()
        assert follower.poll() == []
        LogBuilder(path).write("stdout", 1, b"born\n")
        assert [line.data for line in follower.poll()] == [b"born"]


def test_truncation_and_removal_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "plain.log"
    path.write_bytes(b"one\ntwo\n")
    with Follower(str(path)) as follower:
        os.truncate(path, 0)
        assert follower.poll() == []
        with path.open("ab") as file:
            file.write(b"three\n")
        assert [line.data for line in follower.poll()] == [b"three"]
        path.unlink()
        assert follower.poll() == []
        path.write_bytes(b"four\n")
        assert [line.data for line in follower.poll()] == [b"four"]


def test_an_index_that_comes_later_is_taken_into_use(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_bytes(b"unindexed\n")
    with Follower(str(path)) as follower:
        builder = LogBuilder(path)
        builder.offset = len(b"unindexed\n")
        builder.write("stderr", 9, b"indexed\n")
        lines = follower.poll()
        assert [(line.data, line.stream, line.run) for line in lines] == [
            (b"indexed", "stderr", "000000000009")
        ]


def test_segments_that_were_deleted_unread_are_passed_over(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stdout", 1, b"first\n")
    with Follower(str(builder.path)) as follower:
        builder.write("stdout", 1, b"second\n")
        builder.rotate(packed=False)
        builder.write("stdout", 1, b"lost\n")
        lost = builder.rotate(packed=False)
        builder.write("stdout", 1, b"fourth\n")
        for kind in ("", ".idx"):
            Path(lost + kind).unlink()
        assert [line.data for line in follower.poll()] == [b"second", b"fourth"]


def test_only_lines_with_the_pattern_are_handed_out(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stdout", 1, b"error 1\nfine\n")
    lines, follower = tail_and_follow(str(builder.path), 10, pattern=re.compile(rb"error"))
    with follower:
        builder.write("stdout", 1, b"fine again\nerror 2\n")
        assert [line.data for line in lines + follower.poll()] == [b"error 1", b"error 2"]


def test_a_line_of_many_megabytes_comes_in_parts_and_all_of_it(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    with Follower(str(builder.path)) as follower:
        text = bytes(range(97, 122)) * 120_000
        for at in range(0, len(text), 700_001):
            builder.write("stdout", 1, text[at : at + 700_001])
        builder.write("stdout", 1, b"\nnext\n")
        lines = poll_all(follower)
        assert b"".join(line.data for line in lines[:-1]) == text
        assert [line.complete for line in lines] == [False, False, True, True]


def test_closing_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    builder = LogBuilder(tmp_path / "web.log")
    builder.write("stdout", 1, b"x\n")
    builder.rotate(packed=True)
    before = descriptors()
    with Follower(str(builder.path)) as follower:
        builder.rotate(packed=True)
        follower.poll()
    follower.close()
    assert descriptors() == before


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}
