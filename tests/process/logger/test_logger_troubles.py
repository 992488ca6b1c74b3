"""Full disks, directories that cannot be written, other loggers: nobody blocks for ever, loss is counted."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestra_supervisor.logfile.index import HEADER_SIZE, Flag, iter_records
from tests.process.logger.logger_driver import KeeperStandIn, Stream, all_lines, log_bytes, texts, wait_until

PRIVATE_TMPFS = 'mount -t tmpfs -o size=1m,mode=750 tmpfs "$1" || exit 77; shift; exec "$@"'


def dropped(keeper: KeeperStandIn) -> int:
    return sum(int(str(event["bytes"])) for event in keeper.of("dropped"))


def feed(keeper: KeeperStandIn, stream: Stream, data: bytes) -> None:
    """Write as a service does: blocked while the pipe is full."""
    view = memoryview(data)
    os.set_blocking(stream.write_fd, False)
    deadline = time.monotonic() + 10
    while view:
        try:
            view = view[os.write(stream.write_fd, view) :]
        except BlockingIOError:
            assert time.monotonic() < deadline, "the service is blocked for ever"
            keeper.pump(0.01)


def flags(index: Path) -> list[int]:
    return [record.flags for record in iter_records(index.read_bytes()[HEADER_SIZE:]) if record.flags]


def can_mount(directory: Path) -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    probe = ["unshare", "--mount", "sh", "-c", PRIVATE_TMPFS, "sh", str(directory), "true"]
    return subprocess.run(probe, capture_output=True, timeout=10, check=False).returncode == 0


@pytest.mark.parametrize("options", [{}, {"redact": ["never"]}], ids=["raw", "treated"])
def test_what_a_full_disk_does_not_take_is_counted_to_the_byte(
    tmp_path: Path, options: dict[str, object]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("needs root and unshare(1) to mount a small tmpfs where nobody else sees it")
    prefix = ("unshare", "--mount", "sh", "-c", PRIVATE_TMPFS, "sh", str(disk))
    with KeeperStandIn(tmp_path, prefix=prefix) as keeper:
        path = disk / "web.log"
        inside = Path(f"/proc/{keeper.process.pid}/root{path}")
        stream = keeper.open(path, **options)
        wait_until(inside.exists, "the log on the small disk")
        filler = inside.with_name("filler")
        filler.write_bytes(b"f" * 600_000)
        data = b"".join(b"line %07d\n" % number for number in range(200_000))
        started = time.monotonic()
        feed(keeper, stream, data)
        assert time.monotonic() - started < 8, "the service goes on after the time that bytes are held"
        keeper.wait_event("unwritable")
        assert "No space left on device (ENOSPC)" in str(keeper.of("unwritable")[0]["reason"])
        filler.unlink()
        feed_until = len(data)
        deadline = time.monotonic() + 5
        while b"space again" not in log_bytes(inside)[-4096:]:
            assert time.monotonic() < deadline
            feed(keeper, stream, b"space again\n")
            feed_until += len(b"space again\n")
            keeper.pump(0.02)
        stream.close()
        keeper.wait_eof(stream)
        in_file = len(log_bytes(inside))
        keeper.wait(lambda: dropped(keeper) >= feed_until - in_file, "the loss reported")
        assert dropped(keeper) == feed_until - in_file > 0
        assert len(keeper.of("unwritable")) == 1
        assert flags(Path(f"{inside}.idx")) == [Flag.DROPPED, Flag.END]
        lines = all_lines(inside)
        complete = [line.data for line in lines if line.complete]
        parts = [line for line in complete if not line.startswith((b"line ", b"space again"))]
        assert len(parts) <= 1, "where the loss ends, the end of one line may be left"
        assert all(len(part) < len("space again") for part in parts)


def test_a_directory_that_comes_back_in_time_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the place of the directory", encoding="utf-8")
    with KeeperStandIn(tmp_path) as keeper:
        path = tmp_path / "logs" / "web.log"
        stream = keeper.open(path)
        stream.write(b"patience\n")
        assert "(ENOTDIR)" in str(keeper.wait_event("unwritable")[0]["reason"]) or "(EEXIST)" in str(
            keeper.of("unwritable")[0]["reason"]
        )
        (tmp_path / "logs").unlink()
        stream.close()
        keeper.wait_eof(stream)
        assert log_bytes(path) == b"patience\n"
        assert keeper.of("dropped") == []


def test_a_service_whose_directory_never_comes_goes_on_and_its_loss_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the place of the directory", encoding="utf-8")
    with KeeperStandIn(tmp_path) as keeper:
        first = keeper.open(tmp_path / "logs" / "web.log")
        other = keeper.open(tmp_path / "fine" / "other.log", run="other-00000000000b")
        feed(keeper, first, b"x" * 300_000)
        first.close()
        keeper.wait_eof(first)
        keeper.wait(lambda: dropped(keeper) == 300_000, "the loss reported")
        assert all(float(str(event["since_wall"])) > time.time() - 60 for event in keeper.of("dropped"))
        second = keeper.open(tmp_path / "logs" / "web.log", run="web-0000000000a2")
        feed(keeper, second, b"y" * 1000)
        (tmp_path / "logs").unlink()
        keeper.pump(0.3)
        second.write(b"good again\n")
        wait_until(lambda: log_bytes(tmp_path / "logs" / "web.log").endswith(b"good again\n"), "the line")
        assert len(keeper.of("unwritable")) == 1, "one episode, told once"
        other.write(b"untouched\n")
        wait_until(lambda: texts(other.path) == [b"untouched"], "the other service's line")


def test_a_log_that_is_a_directory_and_an_index_that_is_one(tmp_path: Path) -> None:
    (tmp_path / "logs" / "bad.log").mkdir(parents=True)
    (tmp_path / "logs" / "web.log.idx").mkdir()
    with KeeperStandIn(tmp_path) as keeper:
        bad = keeper.open(tmp_path / "logs" / "bad.log", run="bad-00000000000b")
        web = keeper.open(tmp_path / "logs" / "web.log")
        reasons = [str(event["reason"]) for event in keeper.wait_event("unwritable", 2)]
        assert "EISDIR" in reasons[0]
        assert "the index cannot be written, the log can" in reasons[1]
        web.write(b"without an index\n")
        web.close()
        keeper.wait_eof(web)
        assert [(line.data, line.at_wall) for line in all_lines(tmp_path / "logs" / "web.log")] == [
            (b"without an index", 0.0)
        ]
        bad.close()
        keeper.wait_eof(bad)


def test_running_out_of_descriptors_is_told_and_passes(tmp_path: Path) -> None:
    with KeeperStandIn(tmp_path, nofile=26) as keeper:
        few = [keeper.open(tmp_path / "logs" / f"s{n}.log", run=f"s-{n + 1:012x}") for n in range(7)]
        keeper.wait_event("unwritable")
        assert "EMFILE" in str(keeper.of("unwritable")[0]["reason"])
        for stream in few[:3]:
            stream.close()
        few[6].write(b"at last\n")
        wait_until(
            lambda: log_bytes(Path(few[6].path)) == b"at last\n", "the line, once descriptors are free"
        )
        assert keeper.process.poll() is None


def test_two_loggers_never_write_in_one_directory_at_once(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    with KeeperStandIn(tmp_path) as old, KeeperStandIn(tmp_path) as new:
        first = old.open(path)
        first.write(b"old 1\n")
        wait_until(lambda: log_bytes(path) == b"old 1\n", "the old logger's line")
        old.channel.close()  # its keeper was killed; the service lives on
        second = new.open(path, run="web-0000000000a2")
        second.write(b"new 1\n")
        first.write(b"old 2\n")
        wait_until(lambda: log_bytes(path) == b"old 1\nold 2\n", "the old logger's second line")
        new.pump(0.2)
        assert log_bytes(path) == b"old 1\nold 2\n", "the new logger waits"
        first.close()
        assert old.process.wait(10) == 0
        second.close()
        new.wait_eof(second)
        assert log_bytes(path) == b"old 1\nold 2\nnew 1\n"
        assert new.events == [], "waiting for a lock is nothing to report"


def test_a_directory_is_unlocked_when_its_last_log_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(path)
        lock = tmp_path / "logs" / ".logger.lock"
        wait_until(path.exists, "the log")
        fd = os.open(lock, os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stream.close()
            keeper.wait_eof(stream)
            deadline = time.monotonic() + 5
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    assert time.monotonic() < deadline
                    keeper.pump(0.01)
        finally:
            os.close(fd)


def test_a_log_that_cannot_be_rotated_grows_on(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(path)
        stream.write(b"first\n")
        wait_until(lambda: log_bytes(path), "the first line")
        protect = ["chattr", "+a", str(path.parent)]  # names may be added, none may be changed
        if (
            shutil.which("chattr") is None
            or subprocess.run(protect, capture_output=True, check=False).returncode
        ):
            pytest.skip("needs root, chattr and a file system that knows append-only directories")
        try:
            keeper.config(path, max_bytes=3, backups=1, compress=False)
            stream.write(b"second\n")
            reason = str(keeper.wait_event("unwritable")[0]["reason"])
            assert reason.startswith("the log cannot be rotated and grows on")
            stream.write(b"third\n")
            wait_until(lambda: log_bytes(path) == b"first\nsecond\nthird\n", "every line in the one file")
        finally:
            subprocess.run(["chattr", "-a", str(path.parent)], check=True)


def test_a_writer_that_floods_a_full_disk_is_slowed_once_and_then_goes_on(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the place of the directory", encoding="utf-8")
    with KeeperStandIn(tmp_path) as keeper:
        stream = keeper.open(tmp_path / "logs" / "web.log")
        code = "import os\nfor _ in range(2000): os.write(1, b'y' * 16384)"
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=stream.write_fd)
        stream.close()
        keeper.wait_eof(stream)
        assert writer.wait(5) == 0
        keeper.wait(lambda: dropped(keeper) == 2000 * 16384, "the whole loss reported")
        assert len(keeper.of("dropped")) <= 3


def test_a_loss_that_nothing_follows_is_marked_at_the_end_of_the_stream(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the place of the directory", encoding="utf-8")
    with KeeperStandIn(tmp_path) as keeper:
        path = tmp_path / "logs" / "web.log"
        stream = keeper.open(path)
        feed(keeper, stream, b"x" * 100_000)
        keeper.wait(lambda: dropped(keeper) == 100_000, "the loss reported")
        (tmp_path / "logs").unlink()
        keeper.pump(0.3)
        stream.close()
        keeper.wait_eof(stream)
        assert flags(Path(f"{path}.idx")) == [Flag.DROPPED | Flag.END]
