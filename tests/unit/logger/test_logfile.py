"""One log that is written directly, under a clock that the test sets."""

import os
import selectors
import time
from pathlib import Path

import pytest

from orchestra_supervisor.logfile.reader import read_lines
from orchestra_supervisor.logfile.segments import list_segments, stamp_wall
from orchestra_supervisor.logger.directory import Directories
from orchestra_supervisor.logger.logfile import LogFile, Rotation
from orchestra_supervisor.logger.packer import Packer

SECOND = 1_000_000_000  # nanoseconds


def test_a_segment_is_never_named_for_a_time_before_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "web.log")

    def write(at: int, data: bytes) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: at * SECOND)
        if not log.is_open:
            log.open()
        log.begin(1, 1)
        os.pwrite(log.fd, data, log.offset)
        log.advance(len(data))

    with selectors.DefaultSelector() as selector:
        rotation = Rotation(max_bytes=10, backups=9, compress=False)
        log = LogFile(path, rotation, Directories(), Packer(selector))
        write(5000, b"right\n")
        write(1000, b"set back\n")
        assert log.rotate_if_due()
        write(5100, b"right again\n")
        log.close()
    (segment,) = list_segments(path)
    assert stamp_wall(segment.stamp) >= 5000
    lines = [line.data for line in read_lines(path, limit=None, since_wall=4900.0)]
    assert lines == [b"right", b"right again"]
