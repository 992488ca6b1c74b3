"""Rotation: by size, packed, bounded in number, changed live, and when others rotate."""

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestra_supervisor.logfile.segments import list_segments
from tests.process.logger.logger_driver import (
    KeeperStandIn,
    all_lines,
    log_bytes,
    segment_files,
    texts,
    wait_until,
)

OVERSHOOT = 64 * 1024


@pytest.fixture
def keeper(tmp_path: Path):
    with KeeperStandIn(tmp_path) as standing_in:
        yield standing_in


def numbered(count: int, first: int = 0) -> bytes:
    return b"".join(b"line %06d\n" % number for number in range(first, first + count))


def wait_for_messages(keeper: KeeperStandIn, tmp_path: Path) -> None:
    """Messages are handled in order, but pipes may be read before them."""
    mark = tmp_path / "marks" / f"{len(keeper.streams)}.log"
    keeper.open(mark, run=f"mark-{len(keeper.streams):012x}")
    wait_until(mark.exists, "the log that was opened last")


def test_full_segments_are_renamed_and_packed_with_their_index_beside_them(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_bytes=100_000, backups=100)
    data = numbered(40_000)
    for at in range(0, len(data), 1200):  # whole lines at a time, as most services write
        stream.write(data[at : at + 1200])
    stream.close()
    keeper.wait_eof(stream)
    segments = list_segments(str(path))
    assert len(segments) >= 2
    assert [event["segment"] for event in keeper.of("rotated")] == [segment.path for segment in segments]
    wait_until(lambda: not any(segment.plain for segment in list_segments(str(path))), "all segments packed")
    wait_until(lambda: not any(name.endswith(".tmp") for name in segment_files(path)), "no temporary file")
    unpacked = b""
    for segment in segments:
        part = gzip.decompress(Path(segment.path + ".gz").read_bytes())
        assert 100_000 <= len(part) <= 100_000 + OVERSHOOT
        assert part.endswith(b"\n"), "a segment ends at the end of a line where whole lines are written"
        assert Path(segment.path + ".idx").exists()
        unpacked += part
    assert unpacked + log_bytes(path) == data
    assert all(line.at_wall > 0 and line.stream == "stdout" for line in all_lines(path))


def test_only_so_many_segments_are_kept_the_oldest_go_with_their_index(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_bytes=1000, backups=3, compress=False)
    for number in range(20):
        stream.write(numbered(100, number * 100))
        keeper.wait_event("rotated", number + 1)
    names = segment_files(path)
    segments = list_segments(str(path))
    assert len(segments) == 3
    assert len(names) == 3 + 3 + 1, f"three segments, their indexes and the current one: {names}"
    assert texts(path) == numbered(300, 1700).split(b"\n")[:-1]


def test_no_backups_means_that_a_full_segment_is_deleted(keeper: KeeperStandIn, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_bytes=1000, backups=0)
    stream.write(numbered(100))
    keeper.wait_event("rotated")
    wait_until(lambda: segment_files(path) == ["web.log.idx"], "nothing but the current log")
    assert log_bytes(path) == b""


def test_limits_change_while_it_runs(keeper: KeeperStandIn, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_bytes=0)
    stream.write(numbered(1000))
    wait_until(lambda: log_bytes(path) == numbered(1000), "all lines in one file")
    keeper.config(path, max_bytes=500, backups=2, compress=False)
    wait_for_messages(keeper, tmp_path)
    stream.write(b"one more\n")
    keeper.wait_event("rotated")
    keeper.config(path, max_bytes=0, backups=2, compress=False)
    wait_for_messages(keeper, tmp_path)
    stream.write(numbered(1000))
    wait_until(lambda: log_bytes(path).endswith(numbered(1000)), "no rotation any more")
    assert len(keeper.of("rotated")) == 1
    assert texts(path) == (numbered(1000) + b"one more\n" + numbered(1000)).split(b"\n")[:-1]


def test_a_full_segment_waits_a_little_for_the_end_of_its_line(keeper: KeeperStandIn, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_bytes=10, compress=False)
    stream.write(b"longer than ten and")
    wait_until(lambda: log_bytes(path) == b"longer than ten and", "the beginning")
    wait_for_messages(keeper, tmp_path)
    assert keeper.of("rotated") == []
    stream.write(b" now it ends\n")
    (rotated,) = keeper.wait_event("rotated")
    assert Path(str(rotated["segment"])).read_bytes() == b"longer than ten and now it ends\n"


def test_a_line_without_end_does_not_keep_a_segment_from_its_limit(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_bytes=50_000, backups=100, compress=False)
    stream.write(b"z" * 600_000)
    stream.close()
    keeper.wait_eof(stream)
    sizes = [Path(segment.path).stat().st_size for segment in list_segments(str(path))]
    assert sizes
    assert max(sizes) <= 50_000 + OVERSHOOT
    assert [(line.data, line.complete) for line in all_lines(path)] == [(b"z" * 600_000, False)]


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_a_log_that_others_take_away_is_begun_anew(keeper: KeeperStandIn, tmp_path: Path, how: str) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path)
    stream.write(b"before\n")
    wait_until(lambda: log_bytes(path) == b"before\n", "the line")
    if how == "renamed":
        path.rename(tmp_path / "logs" / "web.log.1")
    else:
        path.unlink()
    deadline = time.monotonic() + 5
    while not path.exists():
        assert time.monotonic() < deadline
        stream.write(b"after\n")
        keeper.pump(0.1)
    stream.close()
    keeper.wait_eof(stream)
    lines = all_lines(path)
    assert lines
    assert all(line.data == b"after" and line.stream == "stdout" for line in lines)


def test_a_log_that_others_truncate_is_written_from_its_new_end(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path)
    stream.write(numbered(1000))
    wait_until(lambda: log_bytes(path) == numbered(1000), "the lines")
    os.truncate(path, 0)
    keeper.pump(1.05)
    stream.write(b"after\n")
    stream.close()
    keeper.wait_eof(stream)
    assert log_bytes(path) == b"after\n"
    assert [(line.data, line.stream) for line in all_lines(path)] == [(b"after", "stdout")]


def test_quit_does_not_leave_a_packing_child_behind(keeper: KeeperStandIn, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    path.parent.mkdir()
    segment = path.parent / "web.log.20260102T030405.000006Z"
    with segment.open("wb") as file:
        file.truncate(1 << 30)  # a second of packing at least
    keeper.open(path)
    children = Path(f"/proc/{keeper.process.pid}/task/{keeper.process.pid}/children")
    wait_until(lambda: children.read_text(encoding="utf-8").split(), "the packing child")
    child = int(children.read_text(encoding="utf-8").split()[0])
    wait_until(lambda: os.getpriority(os.PRIO_PROCESS, child) == 19, "its low priority")
    held_files = [str(each.readlink()) for each in Path(f"/proc/{child}/fd").iterdir()]
    assert not [each for each in held_files if "socket:" in each or each.endswith((".log", ".lock"))]
    held = os.pidfd_open(child)
    try:
        keeper.send({"type": "quit"})
        assert keeper.wait_end() == 0
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(held, 0)
    finally:
        os.close(held)
    assert segment.exists()


def test_bytes_are_written_where_the_kernel_cannot_move_them(tmp_path: Path) -> None:
    code = (
        "import os, sys, errno\n"
        "def refuse(*_, **__): raise OSError(errno.EINVAL, 'Invalid argument')\n"
        "os.splice = refuse\n"
        "import runpy\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    script = tmp_path / "without_splice.py"
    script.write_text(code, encoding="utf-8")
    with KeeperStandIn(tmp_path, prefix=(sys.executable, str(script)), interpreter=()) as keeper:
        path = tmp_path / "logs" / "web.log"
        stream = keeper.open(path, max_bytes=100_000, backups=100)
        data = numbered(50_000)
        code = "import sys; sys.stdout.write(''.join('line %06d\\n' % n for n in range(50000)))"
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=stream.write_fd)
        stream.close()
        assert writer.wait(10) == 0
        keeper.wait_eof(stream)
        assert texts(path) == data.split(b"\n")[:-1]


def test_an_old_segment_is_rotated_while_nothing_comes_and_an_empty_one_is_left_alone(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_age=0.1, compress=False)
    stream.write(b"first\n")
    keeper.wait_event("rotated")
    assert log_bytes(path) == b""
    stream.write(b"second\n")
    keeper.wait_event("rotated", 2)
    stream.close()
    keeper.wait_eof(stream)
    assert len(list_segments(str(path))) == 2, "an empty segment has no age"
    assert texts(path) == [b"first", b"second"]


def test_a_segment_that_grew_old_while_nobody_wrote_is_rotated_before_the_next_byte(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path)
    stream.write(b"of the last run\n")
    stream.close()
    keeper.wait_eof(stream)
    over = time.time() + 0.002
    wait_until(lambda: time.time() > over, "it is older than it may be")
    second = keeper.open(path, run="web-0000000000a2", max_age=0.001, compress=False)
    second.write(b"of this run\n")
    second.close()
    keeper.wait_eof(second)
    oldest = Path(list_segments(str(path))[0].path)
    assert oldest.read_bytes() == b"of the last run\n"
    assert texts(path) == [b"of the last run", b"of this run"]


def test_the_oldest_segments_go_when_the_directory_is_over_its_limit(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    options = {"max_bytes": 1000, "backups": 100, "compress": False, "directory_keep_bytes": 20_000}
    paths = [tmp_path / "logs" / f"{name}.log" for name in ("one", "two")]
    streams = [keeper.open(path, **options) for path in paths]
    for number in range(15):
        for stream in streams:
            stream.write(b"%01000d\n" % number)
        keeper.wait_event("rotated", 2 * (number + 1))  # what comes at once becomes one segment
    keeper.wait_event("removed")

    def total() -> int:
        return sum(each.stat().st_size for each in paths[0].parent.iterdir())

    keeper.wait(lambda: total() < 21_000, "a directory within its limit")
    for path in paths:
        assert texts(path)[-1] == b"%01000d" % 14, "the newest are there"
        assert list_segments(str(path)), "both logs have kept some of theirs"
    keeper.config(paths[0], **{**options, "directory_keep_bytes": 1})
    keeper.wait(lambda: not list_segments(str(paths[1])), "no segment under a smaller limit")
    assert paths[1].exists()
