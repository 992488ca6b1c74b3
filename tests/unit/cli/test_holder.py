"""A lock's word about its holder is checked before anybody is signalled."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.cli.holder import Holder, keeper_pid_of, read_holder, write_holder


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def test_the_holder_is_read_as_it_was_written_and_opens(lock: int, tmp_path: Path):
    write_holder(lock, os.getpid())
    holder = read_holder(tmp_path)
    assert holder is not None
    assert holder.pid == keeper_pid_of(tmp_path) == os.getpid()
    descriptor = holder.open()
    assert descriptor is not None
    os.close(descriptor)


def test_a_keeper_in_another_pid_namespace_is_not_taken_for_a_process_of_this_one(lock: int, tmp_path: Path):
    write_holder(lock, os.getpid())
    holder = read_holder(tmp_path)
    assert holder is not None
    assert Holder(holder.pid, holder.start_ticks, holder.namespace + 1).open() is None


def test_a_process_that_has_taken_the_number_of_a_dead_keeper_is_not_opened(lock: int, tmp_path: Path):
    write_holder(lock, os.getpid())
    holder = read_holder(tmp_path)
    assert holder is not None
    assert Holder(holder.pid, holder.start_ticks - 1, holder.namespace).open() is None


def test_a_lock_that_says_no_more_than_a_pid_gives_nobody_to_signal(lock: int, tmp_path: Path):
    os.pwrite(lock, b"1\n", 0)
    holder = read_holder(tmp_path)
    assert holder == Holder(1)
    assert holder.open() is None


def test_a_lock_that_nobody_holds_names_nobody(tmp_path: Path):
    (tmp_path / "lock").write_text(f"{os.getpid()} 1 1\n", encoding="utf-8")
    assert read_holder(tmp_path) is None
    assert keeper_pid_of(tmp_path) is None


def test_a_shorter_text_leaves_nothing_of_a_longer_one(lock: int, tmp_path: Path):
    os.pwrite(lock, b"9" * 60, 0)
    write_holder(lock, os.getpid())
    assert keeper_pid_of(tmp_path) == os.getpid()
    assert (tmp_path / "lock").stat().st_size == 48
