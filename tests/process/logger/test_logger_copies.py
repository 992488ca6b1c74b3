"""Output also goes to files of the user's choice, byte by byte, and to a console: never at the log's cost."""

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.logger.logger_driver import DEADLINE, KeeperStandIn, texts, wait_until

OUT = {"stream": "stdout", "max_bytes": 0, "backups": 10}
CONSOLE = {"protocol": "console", "transport": "stream", "address": "/dev/stdout"}


@pytest.fixture
def keeper(tmp_path: Path):
    with KeeperStandIn(tmp_path) as standing_in:
        yield standing_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "web.log"


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def test_a_file_gets_the_bytes_of_its_stream_and_the_log_gets_all(keeper, path, tmp_path):
    files = [
        {**OUT, "path": str(tmp_path / "out.txt")},
        {**OUT, "path": str(tmp_path / "err.txt"), "stream": "stderr"},
        {**OUT, "path": str(tmp_path / "both.txt"), "stream": "both"},
    ]
    out, err = (keeper.open(path, stream=name, files=files) for name in ("stdout", "stderr"))
    out.write(b"one\n\x00\xff two\r\n")
    wait_until(lambda: content(tmp_path / "both.txt"), "the first lines")
    err.write(b"three\n")
    out.close()
    err.close()
    keeper.wait_eof(out, err)
    assert content(tmp_path / "out.txt") == b"one\n\x00\xff two\r\n"
    assert content(tmp_path / "err.txt") == b"three\n"
    assert content(tmp_path / "both.txt") == b"one\n\x00\xff two\r\nthree\n"
    assert texts(path) == [b"one", b"\x00\xff two\r", b"three"]


def test_a_line_without_end_is_copied_without_one(keeper, path, tmp_path):
    out = keeper.open(path, files=[{**OUT, "path": str(tmp_path / "out.txt")}])
    out.write(b"> ")
    wait_until(lambda: content(tmp_path / "out.txt") == b"> ", "the prompt")
    out.write(b"answer\nlast")
    out.close()
    keeper.wait_eof(out)
    assert content(tmp_path / "out.txt") == b"> answer\nlast"


def test_objects_of_the_log_are_plain_lines_in_a_copy_and_secrets_in_neither(keeper, path, tmp_path):
    files = [{**OUT, "path": str(tmp_path / "out.txt")}]
    out = keeper.open(path, files=files, format="json", secrets=("hunter2",))
    out.write(b"the word is hunter2\n")
    out.close()
    keeper.wait_eof(out)
    assert content(tmp_path / "out.txt") == b"the word is [redacted]\n"
    assert b"hunter2" not in path.read_bytes()


def test_a_copy_is_rotated_by_numbers_as_supervisord_does_it(keeper, path, tmp_path):
    copy = tmp_path / "out.txt"
    out = keeper.open(path, files=[{**OUT, "path": str(copy), "max_bytes": 8, "backups": 2}])
    for word in (b"first--\n", b"second-\n", b"third--\n", b"4th\n"):
        out.write(word)
        keeper.wait(lambda word=word: word.strip() in b"".join(texts(path)), "the word")
    out.close()
    keeper.wait_eof(out)
    found = {each.name: each.read_bytes() for each in tmp_path.glob("out.txt*")}
    assert found == {"out.txt": b"4th\n", "out.txt.1": b"third--\n", "out.txt.2": b"second-\n"}


def test_a_copy_without_rotated_files_is_emptied(keeper, path, tmp_path):
    copy = tmp_path / "out.txt"
    out = keeper.open(path, files=[{**OUT, "path": str(copy), "max_bytes": 8, "backups": 0}])
    out.write(b"first--\n")
    keeper.wait(lambda: texts(path) == [b"first--"], "the first line")
    out.write(b"x\n")
    out.close()
    keeper.wait_eof(out)
    assert [each.name for each in tmp_path.glob("out.txt*")] == ["out.txt"]
    assert content(copy) == b"x\n"


def test_a_copy_that_others_have_moved_away_is_begun_anew(keeper, path, tmp_path):
    copy = tmp_path / "out.txt"
    out = keeper.open(path, files=[{**OUT, "path": str(copy)}])
    out.write(b"before\n")
    wait_until(lambda: content(copy) == b"before\n", "the first line")
    copy.rename(tmp_path / "moved.txt")

    def is_begun() -> bool:
        out.write(b"x\n")
        return copy.exists()

    keeper.wait(is_begun, "a new file")
    assert content(tmp_path / "moved.txt").startswith(b"before\n")


def test_a_copy_that_cannot_be_written_is_told_and_costs_the_log_nothing(keeper, path, tmp_path):
    copy = tmp_path / "later" / "out.txt"
    out = keeper.open(path, files=[{**OUT, "path": str(copy)}])
    out.write(b"lost\n")
    (away,) = keeper.wait_event("sink_away")
    assert (away["path"], away["reason"]) == (str(copy), "No such file or directory (ENOENT)")
    assert texts(path) == [b"lost"]
    copy.parent.mkdir()

    def is_written() -> bool:
        out.write(b"found\n")
        return b"found" in content(copy)

    keeper.wait(is_written, "the copy is written again")
    (dropped,) = keeper.wait_event("sink_dropped")
    assert dropped["path"] == str(copy)
    assert dropped["bytes"] >= 5
    assert len(keeper.of("sink_away")) == 1


def test_options_without_sense_are_told_and_the_log_is_written(keeper, path):
    out = keeper.open(path, files=[{"path": "relative"}, {"stream": "x"}], sinks=[{"protocol": "console"}])
    out.write(b"line\n")
    keeper.wait(lambda: texts(path) == [b"line"], "the line")
    assert len(keeper.wait_event("misconfigured", 3)) == 3


def console_of(tmp_path: Path, write_end: int, path: Path, data: bytes, **sink: object) -> KeeperStandIn:
    keeper = KeeperStandIn(tmp_path, stdout=write_end)
    streams = [
        keeper.open(path, stream=name, sinks=[{**CONSOLE, **sink}], secrets=("hunter2",))
        for name in ("stdout", "stderr")
    ]
    streams[0].write(data)
    keeper.wait(lambda: len(texts(path)) == data.count(b"\n"), "the first stream")
    streams[1].write(b"from stderr\n")
    keeper.wait(lambda: texts(path)[-1:] == [b"from stderr"], "the second stream")
    return keeper


def read_lines(fd: int, count: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < count:
        data += os.read(fd, 65536)
    return data.splitlines()


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("raw", [b"one", b"[redacted]", b"from stderr"]),
        ("prefix", [b"web | one", b"web | [redacted]", b"web | from stderr"]),
    ],
)
def test_lines_go_to_the_output_of_the_keeper(tmp_path, path, layout, expected):
    read_end, write_end = os.pipe()
    with console_of(tmp_path, write_end, path, b"one\nhunter2\n", layout=layout):
        os.close(write_end)
        assert read_lines(read_end, 3) == expected
    os.close(read_end)


def test_lines_of_one_stream_go_there_as_objects(tmp_path, path):
    read_end, write_end = os.pipe()
    with console_of(tmp_path, write_end, path, b"one\n", layout="json", stream="stderr"):
        os.close(write_end)
        (line,) = read_lines(read_end, 1)
    os.close(read_end)
    found = json.loads(line)
    assert {key: found[key] for key in ("service", "run", "stream", "message")} == {
        "service": "web",
        "run": "web-0000000000a1",
        "stream": "stderr",
        "message": "from stderr",
    }


def test_lines_go_to_a_socket_and_to_a_file_as_well(tmp_path, path):
    ours, theirs = socket.socketpair()
    with ours, theirs, console_of(tmp_path, theirs.fileno(), path, b"one\n"):
        assert read_lines(ours.fileno(), 2) == [b"one", b"from stderr"]
    path.unlink()
    file = tmp_path / "console.txt"
    many = b"".join(b"line %d\n" % number for number in range(2_000))
    with file.open("wb") as output, console_of(tmp_path, output.fileno(), path, many):
        wait_until(lambda: content(file) == many + b"from stderr\n", "all lines in the file")


def test_a_reader_that_does_not_read_holds_up_nothing_and_what_is_lost_is_told(tmp_path, path):
    read_end, write_end = os.pipe()
    line = b"x" * 1023 + b"\n"
    with console_of(tmp_path, write_end, path, line * 10) as keeper:
        os.close(write_end)
        (out, _) = keeper.streams
        for _ in range(6):
            out.write(line * 1024)
        out.close()
        keeper.wait_eof(out)  # all of it is in the log, though nobody has read a byte here
        assert len(texts(path)) == 10 + 1 + 6 * 1024
        os.set_blocking(read_end, False)

        def is_told() -> bool:
            with suppress(BlockingIOError):
                os.read(read_end, 1 << 20)
            return bool(keeper.of("sink_dropped"))

        keeper.wait(is_told, "what was lost is told", DEADLINE)
        (dropped,) = keeper.of("sink_dropped")
        assert (dropped["path"], dropped["lines"] > 0) == ("/dev/stdout", True)
    os.close(read_end)


def test_a_reader_that_is_gone_is_told_and_the_log_goes_on(tmp_path, path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with console_of(tmp_path, write_end, path, b"one\n") as keeper:
        os.close(write_end)
        (away,) = keeper.wait_event("sink_away")
        assert (away["path"], away["reason"]) == ("/dev/stdout", "Broken pipe")
        assert texts(path) == [b"one", b"from stderr"]
