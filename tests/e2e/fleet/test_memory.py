"""Crashes are followed at once, and what a person stopped stays stopped."""

import os
import signal
import sqlite3
import statistics
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, alive, python, until

STAY = "import os, signal\nos.write(1, b'here\\n')\nsignal.pause()\n"
IMMEDIATE = {"policy": "always", "max_restarts": "unlimited", "backoff": {"initial": 0}}


def test_a_crash_is_followed_by_the_new_process_at_once(fleet: Fleet) -> None:
    fleet.write({"one": {"command": python(STAY), "restart": IMMEDIATE}})
    fleet.up()
    pid = fleet.pid("one")
    took: list[float] = []
    for round_ in range(20):
        until(lambda round_=round_: fleet.log("one").count(b"here") == round_ + 1, "it is there")
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        old = pid
        pid = until(
            lambda old=old: next((p for p in _children(fleet.keeper) if p != old and _is_one(p)), None),
            "a new process",
        )
        took.append(time.monotonic() - began)
    assert statistics.median(took) < 1.0
    print(f"crash to new process, 20 times: median {statistics.median(took) * 1000:.1f} ms")
    assert until(lambda: fleet.service("one")["restarts"] == 20, "20 restarts are counted")


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()))


def _is_one(pid: int) -> bool:
    try:
        return b"signal.pause()" in Path(f"/proc/{pid}/cmdline").read_bytes() and alive(pid)
    except OSError:
        return False


def test_a_service_that_always_fails_is_given_up_after_its_limit_with_growing_pauses(fleet: Fleet) -> None:
    restart = {"policy": "always", "max_restarts": 4, "backoff": {"initial": 0.05, "jitter": 0}}
    fleet.write({"bad": {"command": python("raise SystemExit(4)"), "restart": restart}})
    fleet.run("up", "--detach")
    row = fleet.until_state("bad", "failed")
    assert (row["restarts"], row["exit"]["code"], row["pid"]) == (4, 4, None)
    assert "4" in row["reason"]
    at = [event["at"] for event in fleet.events("service.spawned", "bad")]
    pauses = [after - before for before, after in pairwise(at[1:])]
    assert len(at) == 5
    assert pauses[0] >= 0.05
    assert pauses[1] >= 0.1
    assert pauses[2] >= 0.2


@pytest.mark.parametrize("remember", [False, True])
def test_a_stop_by_hand_outlives_the_daemon_and_by_setting_the_whole_fleet(
    fleet: Fleet, *, remember: bool
) -> None:
    services: dict[str, object] = {
        name: {"command": python(STAY), "restart": "always"} for name in ("held", "calm", "back")
    }
    fleet.write(services, remember_stops=remember)
    fleet.up()
    fleet.ok("stop", "held", "back", "--reason", "a test")
    fleet.ok("start", "back")
    calm = fleet.pid("calm")
    for _ in range(2):
        old = fleet.kill_daemon()
        assert until(lambda old=old: fleet.daemon()["pid"] != old, "a new daemon")
        row = fleet.service("held")
        assert (row["state"], row["desired"], row["down_reason"]) == ("stopped", "down", "operator")
        assert fleet.pid("calm") == calm
    fleet.ok("down")
    fleet.up()
    fleet.until_state("calm", "ready")
    fleet.until_state("back", "ready")
    fleet.until_state("held", "stopped" if remember else "ready")
    if remember:
        fleet.ok("start", "held")
        fleet.ok("down")
        fleet.up()
        fleet.until_state("held", "ready")


def test_a_stop_that_a_daemon_began_is_ended_by_the_next(fleet: Fleet) -> None:
    code = "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write(1, b'here\\n')\n"
    fleet.write(
        {"deaf": {"command": python(code + "while True: signal.pause()"), "restart": "always"}},
        defaults={"stop": {"grace": 1.0}},
    )
    fleet.up()
    fleet.until_log("deaf", "here")
    pid = fleet.pid("deaf")
    fleet.client.stop(["deaf"], wait="none")
    fleet.kill_daemon()
    until(lambda: not alive(pid), "it is gone")
    row = fleet.until_state("deaf", "stopped")
    assert (row["desired"], row["down_reason"], row["restarts"]) == ("down", "operator", 0)


def test_a_fleet_that_was_going_down_when_its_daemon_died_goes_down(fleet: Fleet) -> None:
    code = "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write(1, b'here\\n')\n"
    fleet.write(
        {
            "base": {"command": python(STAY)},
            "deaf": {"command": python(code + "while True: signal.pause()"), "depends_on": ["base"]},
        },
        defaults={"stop": {"grace": 1.0}},
    )
    fleet.up()
    fleet.until_log("deaf", "here")
    keeper = fleet.keeper
    fleet.client.shutdown("a test")
    daemon = fleet.role("daemon")
    assert daemon
    fleet.kill(daemon)
    until(lambda: not alive(keeper), "the keeper ends")
    assert fleet.processes() == []


def test_the_journal_keeps_as_many_events_as_its_setting_says(fleet: Fleet) -> None:
    fleet.write({"crashing": {"command": ["false"], "restart": IMMEDIATE}}, journal_keep=1000)
    fleet.run("up", "--detach")

    def oldest() -> int:
        url = f"file:{fleet.home / 'journal.sqlite3'}?mode=ro"
        with closing(sqlite3.connect(url, uri=True)) as connection:
            return int(connection.execute("SELECT min(seq) FROM events").fetchone()[0])

    until(lambda: oldest() > 1, "the oldest events are gone")
