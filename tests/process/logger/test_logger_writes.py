"""What services write is in the files, all of it and in order, and quickly."""

import fcntl
import os
import random
import select
import signal
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from orchestra_supervisor.wire.frames import Message
from tests.process.logger.logger_driver import (
    LOGGER_MAIN,
    PYTHON,
    KeeperStandIn,
    all_lines,
    log_bytes,
    texts,
    wait_until,
)

WRITE_LINES = "import sys\nfor n in range(int(sys.argv[1])): print('line', n, flush=True)"


@pytest.fixture
def keeper(tmp_path: Path):
    with KeeperStandIn(tmp_path) as standing_in:
        yield standing_in


def test_bytes_of_a_writer_process_are_in_the_file_as_they_are(keeper: KeeperStandIn, tmp_path: Path) -> None:
    stream = keeper.open(tmp_path / "logs" / "web.log")
    writer = subprocess.Popen([sys.executable, "-c", WRITE_LINES, "2000"], stdout=stream.write_fd)
    stream.close()
    assert writer.wait(10) == 0
    keeper.wait_eof(stream)
    expected = b"".join(b"line %d\n" % number for number in range(2000))
    assert log_bytes(tmp_path / "logs" / "web.log") == expected
    assert keeper.events == []


def test_two_streams_interleaved_at_random_keep_every_byte_in_its_order(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    streams = [keeper.open(path, stream=name) for name in ("stdout", "stderr")]
    wait_until(path.exists, "a logger that reads while they write")
    chance = random.Random(7)
    sent = [b"", b""]
    for _ in range(3000):
        which = chance.randrange(2)
        data = bytes(chance.choices(b"ab\n\x00\xff", k=chance.randrange(1, 60)))
        streams[which].write(data)
        sent[which] += data
    for stream in streams:
        stream.close()
    keeper.wait_eof(*streams)
    assert sorted(log_bytes(path)) == sorted(sent[0] + sent[1])
    lines = all_lines(path)
    changes = sum(one.stream != other.stream for one, other in pairwise(lines))
    assert changes > 10, "they were not interleaved"
    for name, data in zip(("stdout", "stderr"), sent, strict=True):
        mine = b"\n".join(line.data for line in lines if line.stream == name)
        assert mine == data.removesuffix(b"\n")


def test_a_line_of_a_megabyte_and_a_last_line_without_end_are_kept(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path)
    stream.write(b"x" * 1_048_576 + b"\n" + b"\xff\xfe\x00 no end")
    stream.close()
    keeper.wait_eof(stream)
    lines = all_lines(path)
    assert [(len(line.data), line.complete) for line in lines] == [(1_048_576, True), (10, False)]
    assert lines[1].data == b"\xff\xfe\x00 no end"
    assert lines[0].run == "0000000000a1"


def test_two_hundred_services_are_written_side_by_side(keeper: KeeperStandIn, tmp_path: Path) -> None:
    streams = [keeper.open(tmp_path / "logs" / f"s{n}.log", run=f"s-{n + 1:012x}") for n in range(200)]
    for _ in range(5):
        for stream in streams:
            stream.write(stream.run.encode() * 20 + b"\n")
    for stream in streams:
        stream.close()
    keeper.wait_eof(*streams)
    for stream in streams:
        assert log_bytes(Path(stream.path)) == (stream.run.encode() * 20 + b"\n") * 5


def test_a_service_that_floods_does_not_starve_another(keeper: KeeperStandIn, tmp_path: Path) -> None:
    noisy = keeper.open(
        tmp_path / "logs" / "noisy.log", run="noisy-00000000000b", max_bytes=8_000_000, backups=0
    )
    quiet = keeper.open(tmp_path / "logs" / "quiet.log", run="quiet-00000000000c")
    flood = "import os, itertools\nfor _ in itertools.repeat(0): os.write(1, b'y' * 65536)"
    writer = subprocess.Popen([sys.executable, "-c", flood], stdout=noisy.write_fd)
    try:
        keeper.wait_event("rotated", 2)
        quiet.write(b"still heard\n")
        wait_until(lambda: texts(quiet.path) == [b"still heard"], "the quiet service's line", 2.0)
    finally:
        writer.kill()
        writer.wait()


def test_files_and_directories_are_made_for_owner_and_group_alone(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "er" / "web.log"
    stream = keeper.open(path)
    stream.write(b"one\n")
    wait_until(lambda: log_bytes(path) == b"one\n", "the line")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    for name in ("web.log", "web.log.idx", ".logger.lock"):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o640


def test_an_idle_logger_is_never_woken(keeper: KeeperStandIn, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path)
    stream.write(b"then silence\n")
    wait_until(lambda: log_bytes(path) == b"then silence\n", "the line")
    status = Path(f"/proc/{keeper.process.pid}/status")

    def switches() -> str:
        return next(
            line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("voluntary")
        )

    wait_until(
        lambda: (
            (tmp_path / "logs" / "web.log").exists() and "S (sleeping)" in status.read_text(encoding="utf-8")
        ),
        "sleep",
    )
    before = switches()
    keeper.pump(1.0)
    assert switches() == before


def test_quit_writes_what_the_pipes_hold_and_ends(keeper: KeeperStandIn, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(
        path, max_bytes=1000, backups=100, compress=False
    )  # a turn moves less than a pipe holds
    wait_until(path.exists, "the log")
    size = fcntl.fcntl(stream.write_fd, fcntl.F_SETPIPE_SZ, 512 * 1024)
    words = b"last words\n" * (size // 11)
    keeper.process.send_signal(signal.SIGSTOP)
    os.write(stream.write_fd, words)
    keeper.send({"type": "quit"})
    keeper.process.send_signal(signal.SIGCONT)
    assert keeper.wait_end() == 0
    assert b"".join(line + b"\n" for line in texts(path)) == words


def test_without_its_keeper_it_drains_until_every_writer_has_gone(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path)
    stream.write(b"before\n")
    wait_until(lambda: log_bytes(path), "the first line")
    keeper.channel.close()
    stream.write(b"after\n")
    wait_until(lambda: log_bytes(path) == b"before\nafter\n", "the line after the keeper's death")
    assert keeper.process.poll() is None
    stream.close()
    assert keeper.process.wait(10) == 0


def test_a_keeper_that_talks_nonsense_ends_the_logger_and_the_bytes_wait(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path)
    os.write(keeper.channel.fileno(), b"not a frame at all")
    assert keeper.process.wait(10) == 1
    assert "orchestra logger: the keeper broke the protocol" in keeper.stderr()
    stream.write(b"waits in the pipe\n")
    keeper.restart()
    stream.close()
    keeper.wait_eof(stream)
    assert log_bytes(path) == b"waits in the pipe\n"


def test_a_message_that_makes_no_sense_is_told_and_harms_nobody(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    good = keeper.open(tmp_path / "logs" / "web.log")
    keeper.send({"type": "open", "path": "relative.log", "options": {}})
    keeper.send({"type": "open"})
    keeper.send({"type": "something_new"})
    good.write(b"fine\n")
    good.close()
    keeper.wait_eof(good)
    assert log_bytes(tmp_path / "logs" / "web.log") == b"fine\n"
    assert keeper.stderr().count("makes no sense") == 2


def test_pipes_that_come_together_are_each_taken_by_themselves(keeper: KeeperStandIn, tmp_path: Path) -> None:
    pipes = [os.pipe() for _ in range(4)]
    null = os.open("/dev/null", os.O_RDONLY)
    named = [
        {"run": "a-1", "slot": "a", "stream": "stdout", "path": f"{tmp_path}/a.log"},
        {"run": "b-1", "slot": "b", "stream": "stdout", "path": "relative.log"},
        {"run": "c-1", "slot": "c", "stream": "stderr", "path": f"{tmp_path}/c.log"},
        "nonsense",
        {"run": "d-1", "slot": "d", "stream": "stdout", "path": f"{tmp_path}/d.log"},
        {"run": "e-1", "slot": "e", "stream": "stdout", "path": f"{tmp_path}/e.log"},
    ]
    reads = [read for read, _ in pipes]
    keeper.send({"type": "open", "pipes": named, "options": {}}, [*reads, null])
    ends = [write for _, write in pipes]
    for fd in (*reads, null):
        os.close(fd)
    os.write(ends[0], b"of a\n")
    os.write(ends[2], b"of c\n")
    wait_until(lambda: log_bytes(tmp_path / "c.log"), "what came after a bad one is logged")
    assert log_bytes(tmp_path / "a.log") == b"of a\n"
    assert log_bytes(tmp_path / "c.log") == b"of c\n"
    for number, why in ((1, "'relative.log' is not absolute"), (3, "a pipe is not an object")):
        wait_until(lambda end=ends[number]: not is_read(end), "nobody has the other end")
        assert why in keeper.stderr()
    wait_until(lambda: "no descriptor came with it" in keeper.stderr(), "the last one")
    assert "the descriptor is not a pipe" in keeper.stderr()
    for fd in ends:
        os.close(fd)


def is_read(write_end: int) -> bool:
    poll = select.poll()
    poll.register(write_end, 0)
    return not any(mask & select.POLLERR for _, mask in poll.poll(0))


def test_a_pipe_by_itself_is_taken_as_keepers_of_before_send_it(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    read, write = os.pipe()
    message: Message = {"type": "open", "run": "a-1", "slot": "a", "stream": "stdout", "options": {}}
    keeper.send({**message, "path": f"{tmp_path}/a.log"}, [read])
    os.close(read)
    os.write(write, b"x\n")
    wait_until(lambda: log_bytes(tmp_path / "a.log") == b"x\n", "it is logged")
    os.close(write)


def test_signals_of_a_terminal_or_a_shutdown_do_not_end_it(keeper: KeeperStandIn, tmp_path: Path) -> None:
    stream = keeper.open(tmp_path / "logs" / "web.log")
    stream.write(b"started\n")
    wait_until(lambda: log_bytes(tmp_path / "logs" / "web.log"), "the first line")
    for number in (1, 2, 3, 15):
        keeper.process.send_signal(number)
    stream.write(b"still here\n")
    stream.close()
    keeper.wait_eof(stream)
    assert keeper.process.poll() is None


def test_a_start_without_a_keeper_is_refused_with_the_way_out() -> None:
    result = subprocess.run(
        [*PYTHON, LOGGER_MAIN],
        check=False,
        env={},
        capture_output=True,
        encoding="utf-8",
        timeout=10,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("orchestra logger: no socket of a keeper in ORCHESTRA_KEEPER_FD")
    assert "hint:" in result.stderr


def test_options_that_make_no_sense_are_told_and_no_byte_is_lost(
    keeper: KeeperStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "web.log"
    stream = keeper.open(path, max_bytes=[], backups=-1)
    stream.write(b"written\n")
    stream.close()
    keeper.wait_eof(stream)
    assert log_bytes(path) == b"written\n"
    assert [event["path"] for event in keeper.of("misconfigured")] == [str(path)] * 2
