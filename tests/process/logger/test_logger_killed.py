"""SIGKILL at any instant: no byte is lost, none is doubled, none changes its place."""

import random
import select
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra_supervisor.logfile.index import HEADER_SIZE, RECORD_SIZE
from orchestra_supervisor.logfile.segments import list_segments
from tests.process.logger.logger_driver import (
    KeeperStandIn,
    Stream,
    all_lines,
    log_bytes,
    segment_files,
    texts,
    wait_until,
)

WRITER = """
import os, sys, time
out, err, end = 1, 2, sys.argv[1]
number = 0
while not os.path.exists(end):
    for _ in range(20):
        number += 1
        os.write(out, b"out %d %s\\n" % (number, b"." * (number % 90)))
        os.write(err, b"err %d\\n" % number)
    time.sleep(0.001)
"""


def start_writer(out: Stream, err: Stream, end: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(end)]
    writer = subprocess.Popen(command, stdout=out.write_fd, stderr=err.write_fd)
    out.close()
    err.close()
    return writer


def takes_more(pipe: int) -> bool:
    """Return whether a write would not block: how many bytes fill a pipe depends on how they were written."""
    return bool(select.select([], [pipe], [], 0)[1])


def assert_numbered_at_least_once(lines: list[bytes], word: bytes) -> None:
    """Every line is there, whole, in its order; after a kill, lines may be there again."""
    numbers = [int(line.split()[1]) for line in lines]
    assert list(dict.fromkeys(numbers)) == list(range(1, max(numbers) + 1)), f"{word!r}: a line is lost"
    assert all(line.split()[0] == word for line in lines), f"a line of another stream among {word!r}"


def assert_numbered(lines: list[bytes], word: bytes) -> None:
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(1, len(numbers) + 1)), f"{word!r}: a line is lost, doubled or misplaced"
    assert all(line.split()[0] == word for line in lines), f"a line of another stream among {word!r}"


def test_thirty_kills_lose_double_and_misplace_nothing(tmp_path: Path) -> None:
    chance = random.Random(2)
    with KeeperStandIn(tmp_path) as keeper:
        path = tmp_path / "logs" / "web.log"
        streams = [keeper.open(path, stream="stdout"), keeper.open(path, stream="stderr")]
        writer = start_writer(streams[0], streams[1], tmp_path / "end")
        try:
            wait_until(lambda: log_bytes(path), "the first bytes")
            for _ in range(30):
                keeper.pump(chance.uniform(0.02, 0.08))
                keeper.restart()
        finally:
            (tmp_path / "end").touch()
            assert writer.wait(10) == 0
        keeper.wait_eof(*streams)
        lines = all_lines(path)
        assert len(lines) > 2000
        assert all(line.complete and line.at_wall > 0 and line.run == "0000000000a1" for line in lines)
        for name, word in (("stdout", b"out"), ("stderr", b"err")):
            assert_numbered([line.data for line in lines if line.stream == name], word)
        assert keeper.of("recovered") == [], "a kill leaves nothing to repair"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"redact": ["secret[0-9]+"], "max_bytes": 100_000, "backups": 1000},
        {"format": "json"},
        {"format": "json", "rate_limit": {"bytes": 1_000_000, "per": 1, "on_limit": "block"}},
    ],
    ids=["redacted", "json", "limited"],
)
def test_of_treated_lines_no_kill_loses_or_tears_one(tmp_path: Path, options: dict[str, object]) -> None:
    chance = random.Random(4)
    with KeeperStandIn(tmp_path) as keeper:
        path = tmp_path / "logs" / "web.log"
        streams = [keeper.open(path, stream=name, **options) for name in ("stdout", "stderr")]
        writer = start_writer(streams[0], streams[1], tmp_path / "end")
        try:
            wait_until(lambda: log_bytes(path), "the first bytes")
            for _ in range(12):
                keeper.pump(chance.uniform(0.02, 0.06))
                keeper.restart()
        finally:
            (tmp_path / "end").touch()
            assert writer.wait(10) == 0
        keeper.wait_eof(*streams)
        lines = all_lines(path)
        assert len(lines) > 500
        for name, word in (("stdout", b"out"), ("stderr", b"err")):
            ours = [line for line in lines if line.stream == name]
            assert_numbered_at_least_once([line.data for line in ours], word)
            assert all(line.complete and line.at_wall > 0 and line.run == "0000000000a1" for line in ours)


def test_a_treated_line_that_a_killed_logger_left_in_its_middle_is_ended_before_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "logs" / "web.log"
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(path, redact=["x"])
        stream.write(b"first\n")
        wait_until(lambda: log_bytes(path) == b"first\n", "the line")
        keeper.kill()
        with path.open("ab") as file:
            file.write(b"sec")  # as a write that a kill cut short
        keeper.start()
        stream.write(b"second\n")
        wait_until(lambda: log_bytes(path) == b"first\nsec\nsecond\n", "the line, whole")


def test_kills_in_the_middle_of_rotation_and_packing_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(3)
    with KeeperStandIn(tmp_path) as keeper:
        path = tmp_path / "logs" / "web.log"
        streams = [
            keeper.open(path, stream=name, max_bytes=3000, backups=10_000, compress=True)
            for name in ("stdout", "stderr")
        ]
        writer = start_writer(streams[0], streams[1], tmp_path / "end")
        try:
            wait_until(lambda: log_bytes(path), "the first bytes")
            for _ in range(15):
                keeper.wait_event("rotated", len(keeper.of("rotated")) + chance.randrange(1, 4))
                keeper.restart()
        finally:
            (tmp_path / "end").touch()
            assert writer.wait(10) == 0
        keeper.wait_eof(*streams)
        assert len(list_segments(str(path))) > 20
        lines = all_lines(path)
        for name, word in (("stdout", b"out"), ("stderr", b"err")):
            assert_numbered([line.data for line in lines if line.stream == name], word)


def test_what_a_killed_packer_left_is_finished_by_the_next_logger(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    segment = "web.log.20260102T030405.000006Z"
    path.parent.mkdir()
    (path.parent / segment).write_bytes(b"old\n")
    (path.parent / f"{segment}.gz.tmp").write_bytes(b"half a pack")
    orphan = "web.log.20250102T030405.000006Z.gz.tmp"
    (path.parent / orphan).write_bytes(b"of a segment that was deleted")
    with KeeperStandIn(tmp_path) as keeper:
        keeper.open(path)
        wait_until(
            lambda: segment_files(path) == [f"{segment}.gz", "web.log.idx"], "the packed segment alone"
        )
        assert texts(path) == [b"old"]


def test_a_rotation_killed_between_its_renames_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(path, compress=False)
        stream.write(b"first\n")
        wait_until(lambda: log_bytes(path) == b"first\n", "the line")
        keeper.kill()
        path.rename(f"{path}.20260102T030405.000006Z")
        keeper.start()
        stream.write(b"second\n")
        wait_until(lambda: log_bytes(path) == b"second\n", "the line in the new file")
        lines = all_lines(path)
        assert [line.data for line in lines] == [b"first", b"second"]
        assert all(line.run == "0000000000a1" for line in lines), "the old segment has found its index"
        assert keeper.of("recovered") == []


def test_a_damaged_index_is_repaired_and_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    index = Path(f"{path}.idx")
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(path)
        stream.write(b"first\n")
        wait_until(lambda: log_bytes(path) == b"first\n", "the line")
        keeper.kill()
        with index.open("ab") as file:
            file.write(b"\x00" * (RECORD_SIZE + 7))
        keeper.start()
        assert keeper.wait_event("recovered") == [{"type": "event", "kind": "recovered", "path": str(path)}]
        assert index.stat().st_size == HEADER_SIZE + 2 * RECORD_SIZE
        stream.write(b"second\n")
        wait_until(lambda: texts(path) == [b"first", b"second"], "both lines")
        keeper.restart()
        stream.close()
        keeper.wait_eof(stream)
        assert len(keeper.of("recovered")) == 1


def test_a_log_that_lost_its_index_is_read_on_and_its_old_lines_have_no_time(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    path.parent.mkdir()
    path.write_bytes(b"of another hand\n")
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(path)
        keeper.wait_event("recovered")
        stream.write(b"ours\n")
        stream.close()
        keeper.wait_eof(stream)
        lines = all_lines(path)
        assert [(line.data, line.stream, line.run, line.at_wall > 0) for line in lines] == [
            (b"of another hand", "", "", False),
            (b"ours", "stdout", "0000000000a1", True),
        ]


def test_a_killed_logger_leaves_no_writer_blocked_or_killed(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(path)
        code = "import sys\nfor n in range(30000): print('n', n)"
        keeper.kill()
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=stream.write_fd)
        wait_until(lambda: not takes_more(stream.write_fd), "a full pipe")
        stream.close()
        assert writer.poll() is None, "the pipe holds less than what it writes: it waits"
        keeper.start()
        assert writer.wait(10) == 0
        keeper.wait_eof(stream)
        assert texts(path) == [b"n %d" % number for number in range(30000)]
