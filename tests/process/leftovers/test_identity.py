import os
import signal
import subprocess
from collections.abc import Generator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.process import identity as module
from orchestra_supervisor.process.identity import (
    ProcessIdentity,
    boot_id,
    is_running,
    is_same,
    open_pidfd,
    read_identity,
    read_stat,
    send_signal,
)
from tests.process.leftovers.crowd import Crowd, crowd


@pytest.fixture
def people() -> Generator[Crowd]:
    with crowd() as started:
        yield started


def test_a_process_is_itself_and_not_one_that_started_at_another_time() -> None:
    mine = read_identity(os.getpid())
    assert mine is not None
    assert mine.boot_id == boot_id() != ""
    assert is_same(mine)
    assert is_running(mine)
    for other in (
        replace(mine, start_ticks=mine.start_ticks - 1),
        replace(mine, boot_id="another"),
        replace(mine, pid=1),
    ):
        assert not is_same(other)
        assert not is_running(other)
        assert open_pidfd(other) is None


def test_a_name_with_spaces_and_parentheses_is_read(people: Crowd) -> None:
    program = """
        import ctypes, os, signal
        ctypes.CDLL(None).prctl(15, b") R 1 (a b) Z", 0, 0, 0)
        print(os.getpid(), flush=True)
        signal.pause()
    """
    (pid,) = people.start(program)
    stat = read_stat(pid)
    assert stat is not None
    assert stat.name == ") R 1 (a b) Z"
    assert (stat.ppid, stat.session, stat.pgrp) == (os.getpid(), pid, pid)
    assert not stat.has_ended


def test_a_zombie_is_the_same_process_but_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    mine = read_identity(child.pid)
    assert mine is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_same(mine)
    assert not is_running(mine)
    child.wait(5)
    assert not is_same(mine)
    assert open_pidfd(mine) is None
    assert read_stat(child.pid) is None
    assert send_signal(mine, signal.SIGKILL) is False


def test_a_signal_reaches_the_very_process_and_no_other(people: Crowd) -> None:
    pid = people.sleeper()
    real = read_identity(pid)
    assert real is not None
    stale = ProcessIdentity(pid, real.start_ticks + 1, real.boot_id)
    assert send_signal(stale, signal.SIGKILL) is False
    assert is_running(real)
    assert send_signal(real, signal.SIGKILL) is True
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(real)


def test_a_pidfd_is_of_the_very_process(people: Crowd) -> None:
    real = read_identity(people.sleeper())
    assert real is not None
    fd = open_pidfd(real)
    assert fd is not None
    try:
        signal.pidfd_send_signal(fd, signal.SIGCONT)
    finally:
        os.close(fd)


@given(name=st.binary(min_size=0, max_size=15), ticks=st.integers(0, 2**63 - 1), tail=st.binary(max_size=4))
def test_whatever_a_process_is_called_its_start_is_read(name: bytes, ticks: int, tail: bytes) -> None:
    line = b"42 (%b) S 1 2 3 " % name + b"0 " * 15 + b"%d 0 0\n" % ticks
    stat = module._parse_stat(line)  # pyright: ignore[reportPrivateUsage] - names that no test can give a process
    assert stat is not None
    assert (stat.pid, stat.ppid, stat.pgrp, stat.session, stat.start_ticks) == (42, 1, 2, 3, ticks)
    assert os.fsencode(stat.name) == name
    assert module._parse_stat(tail) is None  # pyright: ignore[reportPrivateUsage] - likewise
