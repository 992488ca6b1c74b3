"""One run from spawn to gone, with real processes."""

import os
import signal
from pathlib import Path

import pytest

from tests.process.keeper_driver import Keeper, is_alive, spawn_message, wait_until


@pytest.fixture
def keeper(tmp_path):
    with Keeper(tmp_path) as running:
        yield running


@pytest.fixture
def daemon(keeper):
    return keeper.greeted_daemon()


@pytest.mark.parametrize(
    ("script", "code", "signal_name"),
    [
        ("exit 0", 0, None),
        ("exit 7", 7, None),
        ("kill -SEGV $$", None, "SIGSEGV"),
        ("kill -9 $$", None, "SIGKILL"),
    ],
)
def test_the_end_is_told_as_it_was_exit_first_then_gone(daemon, script, code, signal_name):
    spawned = daemon.request(spawn_message("a-1", "sh", "-c", script))
    assert spawned["type"] == "spawned"
    events = [daemon.expect(lambda m: m.get("run") == "a-1", "an event of the run")[0] for _ in range(2)]
    assert [event["type"] for event in events] == ["exit", "gone"]
    assert (events[0]["code"], events[0]["signal"], events[0]["remaining"]) == (code, signal_name, [])
    assert events[0]["pid"] == spawned["pid"]
    assert spawned["started_mono"] <= events[0]["at_mono"] <= events[1]["at_mono"]
    assert events[1]["maxrss"] > 100_000


def test_stop_sends_the_signal_and_gone_follows(daemon):
    pid = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
    assert daemon.request({"type": "stop", "run": "a-1"})["type"] == "ok"
    assert daemon.event("exit", run="a-1")["signal"] == "SIGTERM"
    daemon.event("gone", run="a-1")
    assert not is_alive(pid)


def test_the_next_daemon_gets_runs_exits_and_notes_of_before(keeper, daemon):
    daemon.request(spawn_message("a-1", "sleep", "100", note={"attempt": 3}))
    b_pid = daemon.request(spawn_message("b-1", "sleep", "100"))["pid"]
    daemon.send({"type": "note", "slot": "b", "note": "kept"})
    daemon.kill()
    os.kill(b_pid, signal.SIGINT)
    wait_until(lambda: not Path(f"/proc/{b_pid}").exists(), "b is reaped")
    welcome, snapshot = keeper.daemon().hello()
    assert welcome["daemon_starts"] == 2
    runs = {message["run"]: message for message in snapshot if message["type"] == "run"}
    assert runs["a-1"]["phase"] == "live"
    assert (runs["b-1"]["phase"], runs["b-1"]["signal"]) == ("gone", "SIGINT")
    notes = {message["slot"]: message["note"] for message in snapshot if message["type"] == "slot_note"}
    assert notes == {"a": {"attempt": 3}, "b": "kept"}
