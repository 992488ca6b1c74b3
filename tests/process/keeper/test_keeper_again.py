"""Standing orders: the keeper starts what follows a run by itself, where nothing was said against it."""

import os
import signal
from pathlib import Path

import pytest

from orchestra_supervisor.wire.frames import VERSION, Message
from tests.process.keeper_driver import Keeper, Peer, is_alive, spawn_message, wait_until

NEXT: Message = {"run": "a-2", "min_life": 0, "unless": [], "needs": []}


@pytest.fixture
def daemon(keeper: Keeper) -> Peer:
    """A daemon that knows of standing orders."""
    return greet(keeper)[0]


def greet(keeper: Keeper) -> tuple[Peer, list[Message]]:
    daemon = keeper.daemon()
    daemon.send({"type": "hello", "id": 1, "version": VERSION, "pid": daemon.pid, "again": True})
    snapshot: list[Message] = []
    while True:
        message, _ = daemon.expect(lambda _: True, "the snapshot")
        if message["type"] == "snapshot_end":
            return daemon, snapshot
        snapshot.append(message)


def spawn(daemon: Peer, run: str, *argv: str, **extra: object) -> int:
    """Start a run that another may follow; returns its pid."""
    given = {"key": "k", "next": NEXT, **extra}
    spawned = daemon.request(spawn_message(run, *(argv or ("sleep", "1000")), **given))
    assert spawned["type"] == "spawned", spawned
    return int(str(spawned["pid"]))


def test_what_follows_is_started_as_the_first_was_and_told_with_the_end(daemon: Peer) -> None:
    pid = spawn(daemon, "a-1")
    os.kill(pid, signal.SIGKILL)
    assert daemon.event("exit", run="a-1")["signal"] == "SIGKILL"
    assert daemon.event("gone", run="a-1")["next"] == "a-2"
    following = daemon.event("spawned", run="a-2")
    assert following["re"] is None
    place = Path(f"/proc/{following['pid']}")
    assert (place / "cmdline").read_bytes() == b"sleep\x001000\x00"
    assert b"ORCHESTRA_RUN_ID=a-2" in (place / "environ").read_bytes()


def test_it_is_good_for_one_end(daemon: Peer) -> None:
    os.kill(spawn(daemon, "a-1"), signal.SIGKILL)
    pid = int(str(daemon.event("spawned", run="a-2")["pid"]))
    os.kill(pid, signal.SIGKILL)
    assert "next" not in daemon.event("gone", run="a-2")


def test_another_may_be_given_for_what_followed(daemon: Peer) -> None:
    os.kill(spawn(daemon, "a-1"), signal.SIGKILL)
    pid = int(str(daemon.event("spawned", run="a-2")["pid"]))
    daemon.send({"type": "again", "run": "a-2", "next": {**NEXT, "run": "a-3"}})
    daemon.sync()
    os.kill(pid, signal.SIGKILL)
    assert daemon.event("gone", run="a-2")["next"] == "a-3"
    daemon.event("spawned", run="a-3")


@pytest.mark.parametrize(
    "order",
    [
        {"type": "again", "run": "a-1", "next": None},
        {"type": "again", "run": "a-1", "next": {**NEXT, "min_life": 1000}},
        {"type": "again", "run": "a-1", "next": {**NEXT, "needs": ["b-1"]}},
        {"type": "again", "run": "a-1", "next": {**NEXT, "run": "a-1"}},
        {"type": "shutdown"},
    ],
)
def test_nothing_follows_an_end_that_it_was_not_given_for(daemon: Peer, order: Message) -> None:
    pid = spawn(daemon, "a-1")
    daemon.send(order)
    daemon.sync()
    os.kill(pid, signal.SIGKILL)
    assert "next" not in daemon.event("gone", run="a-1")


@pytest.mark.parametrize(("code", "follows"), [(0, False), (7, False), (8, True)])
def test_policy_may_have_none_follow_an_exit_code(daemon: Peer, code: int, follows: bool) -> None:
    spawn(daemon, "a-1", "sh", "-c", f"exit {code}", next={**NEXT, "unless": [0, 7]})
    assert ("next" in daemon.event("gone", run="a-1")) is follows


def test_nothing_follows_a_run_that_is_stopped(daemon: Peer) -> None:
    spawn(daemon, "a-1")
    daemon.request({"type": "stop", "run": "a-1"})
    assert "next" not in daemon.event("gone", run="a-1")


def test_nothing_follows_a_run_that_leaves_processes_behind(daemon: Peer) -> None:
    spawn(daemon, "a-1", "sh", "-c", "sleep 1000 & exit 1")
    assert daemon.event("exit", run="a-1")["remaining"]
    daemon.request({"type": "stop", "run": "a-1"})
    assert "next" not in daemon.event("gone", run="a-1")


def test_nothing_follows_without_a_key(daemon: Peer) -> None:
    pid = spawn(daemon, "a-1", key=None)
    daemon.send({"type": "again", "run": "a-1", "next": NEXT})
    daemon.sync()
    os.kill(pid, signal.SIGKILL)
    assert "next" not in daemon.event("gone", run="a-1")


def test_what_it_needs_must_run_unstopped(daemon: Peer) -> None:
    needed = spawn(daemon, "b-1", next=None)
    os.kill(spawn(daemon, "a-1", next={**NEXT, "needs": ["b-1"]}), signal.SIGKILL)
    assert daemon.event("gone", run="a-1")["next"] == "a-2"
    pid = int(str(daemon.event("spawned", run="a-2")["pid"]))
    daemon.send({"type": "again", "run": "a-2", "next": {**NEXT, "run": "a-3", "needs": ["b-1"]}})
    daemon.sync()
    os.kill(needed, signal.SIGKILL)
    daemon.event("gone", run="b-1")
    os.kill(pid, signal.SIGKILL)
    assert "next" not in daemon.event("gone", run="a-2")


def test_it_follows_while_no_daemon_is_there_and_the_next_one_is_told(keeper: Keeper) -> None:
    first, _ = greet(keeper)
    pid = spawn(first, "a-1")
    first.kill()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "a-1 is gone")
    daemon, snapshot = greet(keeper)
    records = {message["run"]: message for message in snapshot if message["type"] == "run"}
    if "a-2" not in records:  # it was told as it happened
        assert daemon.event("gone", run="a-1")["next"] == "a-2"
        daemon.event("spawned", run="a-2")
    else:
        assert (records["a-1"]["next"], records["a-2"]["key"]) == ("a-2", "k")


def test_a_daemon_that_knows_of_none_gets_none(keeper: Keeper) -> None:
    first, _ = greet(keeper)
    pid = spawn(first, "a-1")
    first.kill()
    daemon = keeper.daemon()
    daemon.hello()
    os.kill(pid, signal.SIGKILL)
    assert "next" not in daemon.event("gone", run="a-1")


def test_a_program_that_is_no_more_is_told_after_the_end(daemon: Peer, tmp_path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 1000\n", encoding="ascii")
    program.chmod(0o755)
    pid = spawn(daemon, "a-1", str(program))
    program.unlink()
    os.kill(pid, signal.SIGKILL)
    assert daemon.event("gone", run="a-1")["next"] == "a-2"
    assert daemon.event("spawn_failed", run="a-2")["stage"] == "exec"


@pytest.mark.parametrize(
    "wrong",
    [5, {}, {**NEXT, "run": ""}, {**NEXT, "min_life": -1}, {**NEXT, "unless": ["x"]}, {**NEXT, "needs": [1]}],
)
def test_what_is_no_standing_order_is_refused(daemon: Peer, wrong: object) -> None:
    spawn(daemon, "a-1")
    reply = daemon.request({"type": "again", "run": "a-1", "next": wrong})
    assert (reply["type"], reply["code"]) == ("error", "bad_message")
