"""A stop ends with nothing left, however a service behaves, and without hurting what behaves."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import PYTHON, Fleet, alive, marked, python, state_of, until

GRACE = 0.5  # seconds
_IMPORTS = "import os, signal, sys, time\n"
DEAF = _IMPORTS + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
STAY = "os.write(1, b'here\\n')\nwhile True: signal.pause()\n"
FORK = "if os.fork() == 0:\n    "
BEHAVIOURS: dict[str, str] = {
    "deaf": DEAF + STAY,
    "escaped": DEAF + FORK + "os.setsid()\n" + STAY,
    "daemonised": DEAF + FORK + "os.setsid()\n    if os.fork(): os._exit(0)\n" + STAY,
    "frozen": _IMPORTS + "os.write(1, b'here\\n')\nos.kill(os.getpid(), signal.SIGSTOP)\n" + STAY,
    "crowd": DEAF
    + "for _ in range(500):\n    if os.fork() == 0:\n        os.setsid()\n"
    + "        while True: signal.pause()\n"
    + STAY,
    "silent": _IMPORTS + "os.write(1, b'here\\n')\nos.close(1)\nos.close(2)\nwhile True: signal.pause()\n",
    "polite": _IMPORTS
    + "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye\\n'), os._exit(0)))\n"
    + STAY,
}


@pytest.fixture(scope="module")
def crew(make_fleet: Callable[[str], Fleet]) -> Fleet:
    """A fleet of services that all stop badly, each in its own way."""
    fleet = make_fleet("crew")
    fleet.write(
        {name: {"command": python(code, f"{fleet.path}/{name}/")} for name, code in BEHAVIOURS.items()},
        defaults={"stop": {"grace": GRACE}, "restart": "never"},
    )
    fleet.up()
    return fleet


@pytest.mark.parametrize("name", [name for name in BEHAVIOURS if name != "crowd"])
def test_a_stop_ends_within_grace_and_a_second_with_nothing_left(crew: Fleet, name: str) -> None:
    crew.until_log(name, "here")
    mark = f"{crew.path}/{name}/"
    members = [
        pid for pid in marked(mark) if mark in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    ]
    assert len(members) == (2 if name in {"escaped", "daemonised"} else 1)
    others = {other: row["pid"] for other, row in crew.status().items() if other != name}
    began = time.monotonic()
    answer = crew.client.stop([name])
    took = time.monotonic() - began
    assert not any(map(alive, members))
    assert took < GRACE + 1.0, f"{took:.2f} s"
    assert answer["results"][0]["ok"]  # pyright: ignore[reportIndexIssue]  # JSON
    after = crew.service(name)
    assert (after["state"], after["desired"], after["pid"]) == ("stopped", "down", None)
    if name in {"polite", "silent", "frozen"}:
        assert took < GRACE, "nobody waits for a grace that is not used"
    if name == "polite":
        assert crew.log(name).endswith(b"here\nbye\n")
    assert {other: row["pid"] for other, row in crew.status().items() if other != name} == others


def test_five_hundred_children_in_sessions_of_their_own_are_gone_with_their_service(crew: Fleet) -> None:
    mark = f"{crew.path}/crowd/"
    crew.until_log("crowd", "here")
    members = [
        pid for pid in marked(mark) if mark in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    ]
    assert len(members) == 501
    began = time.monotonic()
    crew.ok("stop", "crowd")
    assert not any(map(alive, members))
    assert time.monotonic() - began < GRACE + 5.0  # 500 processes on a busy machine
    assert crew.service("crowd")["state"] == "stopped"


def test_a_restart_of_a_service_that_was_left_in_peace_starts_it_once(crew: Fleet) -> None:
    crew.client.start(["deaf"])
    crew.until_log("deaf", "here")
    pid = crew.pid("deaf")
    crew.ok("restart", "deaf")
    assert not alive(pid)
    mark = f"{crew.path}/deaf/"
    assert [p for p in marked(mark) if mark in Path(f"/proc/{p}/cmdline").read_text(encoding="utf-8")] == [
        crew.pid("deaf")
    ]


def test_a_service_that_never_reads_its_stdin_sees_its_end_at_once(fleet: Fleet) -> None:
    reader = _IMPORTS + "os.write(1, b'read %d\\n' % len(os.read(0, 10)))\n" + STAY
    fleet.write({"reader": {"command": python(reader)}, "blind": {"command": python(_IMPORTS + STAY)}})
    fleet.up()
    fleet.until_log("reader", "read 0\nhere")
    fleet.until_log("blind", "here")
    fleet.ok("down")
    assert fleet.processes() == []


def test_a_leader_that_leaves_a_child_with_its_pipe_is_followed_by_a_new_run_only_when_that_is_gone(
    fleet: Fleet,
) -> None:
    code = (
        _IMPORTS
        + "if os.path.exists(sys.argv[1]): \n    "
        + STAY.replace("\n", "\n    ")
        + "\nopen(sys.argv[1], 'w').close()\nprint('first', flush=True)\n"
        + "if os.fork() == 0:\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + "    while True:\n        time.sleep(0.05)\n        os.write(1, b'child\\n')\n"
        + "sys.exit(3)\n"
    )
    fleet.write(
        {"left": {"command": python(code, fleet.path / "flag"), "restart": "always"}},
        defaults={"stop": {"grace": GRACE}},
    )
    fleet.up()
    fleet.until_log("left", "here")
    lines = fleet.log("left").decode().splitlines()
    assert lines[0] == "first"
    assert lines[-1] == "here", "the child wrote until it was killed, and nothing after"
    assert "child" in lines
    row = fleet.service("left")
    assert (row["restarts"], row["exit"]["code"]) == (1, 3)
    members = [pid for pid in fleet.processes() if str(fleet.path / "flag") in _words(pid)]
    assert members == [row["pid"]]


def test_a_stopped_process_is_woken_and_killed_with_the_whole_fleet(fleet: Fleet) -> None:
    fleet.write(
        {"frozen": {"command": [*PYTHON, BEHAVIOURS["frozen"]]}, "calm": {"command": ["sleep", "1000"]}}
    )
    fleet.up()
    pid = fleet.pid("frozen")
    until(lambda: state_of(pid) == "T", "it is stopped")
    began = time.monotonic()
    fleet.ok("down")
    assert time.monotonic() - began < 8, "its grace of 10 s was not used up"
    assert fleet.processes() == []
    assert fleet.run("status").returncode == 4


def test_a_second_signal_to_the_keeper_hurries_a_stop(fleet: Fleet) -> None:
    fleet.write({"deaf": {"command": python(BEHAVIOURS["deaf"]), "stop": {"grace": "60s"}}})
    fleet.up()
    fleet.until_log("deaf", "here")
    keeper = fleet.keeper
    fleet.kill(keeper, signal.SIGTERM)
    until(lambda: fleet.service("deaf")["state"] == "stopping", "it stops")
    fleet.kill(keeper, signal.SIGTERM)
    until(lambda: not alive(keeper), "the keeper ends", 10.0)
    assert fleet.processes() == []


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


def test_a_tag_selects_in_every_command_that_takes_names(fleet: Fleet) -> None:
    stay = {"command": ["sleep", "60"]}
    fleet.write({"a": stay | {"tags": ["x", "y"]}, "b": stay | {"tags": ["y"]}, "c": stay})
    fleet.up("--only", "tag:y")
    assert [fleet.service(name)["state"] for name in "abc"] == ["ready", "ready", "stopped"]
    before = {name: fleet.pid(name) for name in "ab"}
    fleet.ok("restart", "tag:x")
    assert fleet.pid("a") != before["a"]
    assert fleet.pid("b") == before["b"]
    shown = fleet.ok("status", "tag:y", "--json")
    assert [row["name"] for row in json.loads(shown)["services"]] == ["a", "b"]
    done = fleet.run("stop", "tag:z")
    assert (done.returncode, "no service has the tag of 'tag:z'" in done.stderr) == (5, True)
    fleet.ok("down")
    assert fleet.ok("logs", "tag:x") == ""
    assert fleet.run("logs", "tag:z").returncode == 5
