"""A killed keeper: services live on, and the next `up` finds them by identity and runs nothing twice."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, alive, marked, python, ticks, until
from tests.process.cgroup_driver import made_group, root_of

STAY = """
import os, signal, sys
os.write(1, b"here\\n")
signal.pause()
"""
# The service's whole program without any environment: known by its pid and start time alone.
BARE = ["env", "-i", sys.executable, "-I", "-S", "-c", STAY]
PARENT = """
import os, signal, subprocess, sys
child = "import os, signal; os.setsid(); signal.pause()"
subprocess.Popen([sys.executable, "-I", "-S", "-c", child, sys.argv[1]])
os.write(1, b"here\\n")
signal.pause()
"""


@pytest.fixture
def orphaned(fleet: Fleet) -> tuple[Fleet, dict[str, int]]:
    """A fleet whose keeper has been killed, and the pids of what it left."""
    configure(fleet)
    fleet.up()
    for name in ("plain", "bare", "parent"):
        fleet.until_log(name, "here")
    left = {name: fleet.pid(name) for name in ("plain", "bare", "parent")}
    assert b"ORCHESTRA" not in Path(f"/proc/{left['bare']}/environ").read_bytes()
    daemon = fleet.role("daemon")
    assert daemon
    fleet.kill(fleet.keeper)
    until(lambda: not alive(daemon), "the daemon ends by itself")
    return fleet, left


def configure(fleet: Fleet, **settings: object) -> None:
    fleet.write(
        {
            "plain": {"command": python(STAY, f"{fleet.path}/plain")},
            "bare": {"command": [*BARE, f"{fleet.path}/bare"]},
            "parent": {"command": python(PARENT, f"{fleet.path}/child")},
        },
        **settings,
    )


def count(fleet: Fleet, mark: str) -> int:
    """Return how many processes have a word of this fleet on their command line or in their environment."""
    return len([pid for pid in marked(f"{fleet.path}/{mark}") if f"/{mark}\0" in command(pid)])


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""


def test_what_a_killed_keeper_left_is_found_told_and_replaced_and_never_runs_twice(
    orphaned: tuple[Fleet, dict[str, int]],
) -> None:
    fleet, left = orphaned
    began = {name: ticks(pid) for name, pid in left.items()}
    assert all(alive(pid) for pid in left.values()), "services outlive the keeper"
    assert fleet.run("status").returncode == 4
    # An uninvolved process whose pid the journal has never seen.
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            fleet.up()
            assert stranger.poll() is None
        finally:
            stranger.kill()
    now = {name: fleet.pid(name) for name in left}
    for name, pid in left.items():
        assert not alive(pid) or ticks(pid) != began[name], f"the old {name} is gone"
    fleet.until_log("parent", "here\nhere")
    assert [count(fleet, mark) for mark in ("plain", "bare", "child")] == [1, 1, 2]  # parent names its child
    found = fleet.events("leftover.found")
    assert {left[name] for name in left} <= {row["data"]["pid"] for row in found}
    assert {row["service"] for row in found} == set(left)
    how = {row["data"]["pid"]: row["data"]["how"] for row in found}
    assert how[left["plain"]] == "environment"
    assert how[left["bare"]] == "journal"
    assert fleet.events("leftover.stopped")
    for name, pid in left.items():
        assert f"(pid {pid}) of {name}" in fleet.said()
    assert all(row["restarts"] == 0 and row["pid"] == now[name] for name, row in fleet.status().items())


def test_leftovers_that_are_only_to_be_reported_keep_the_fleet_from_starting(
    orphaned: tuple[Fleet, dict[str, int]],
) -> None:
    fleet, left = orphaned
    configure(fleet, leftovers="report")
    done = fleet.run("up", "--detach")
    assert done.returncode == 8, done.stderr
    assert all(alive(pid) for pid in left.values())
    assert "4 processes of an earlier fleet still run" in done.stderr
    assert "settings.leftovers" in done.stderr
    for name, pid in left.items():
        assert f"(pid {pid}) of {name}" in fleet.said()
    assert [count(fleet, mark) for mark in ("plain", "bare", "child")] == [1, 1, 2]
    until(lambda: not any("/keeper/__main__" in command(pid) for pid in fleet.processes()), "no keeper stays")


def test_a_second_up_on_a_living_home_is_refused_with_the_pid_of_the_first(fleet: Fleet) -> None:
    fleet.write({"one": {"command": python(STAY, f"{fleet.path}/one")}})
    fleet.up()
    pid, keeper = fleet.pid("one"), fleet.keeper
    second = fleet.run("up", "--detach")
    assert second.returncode == 8
    assert f"its keeper is pid {keeper}" in second.stderr
    assert "hint:" in second.stderr
    # Two at once, without a keeper: one gets the home.
    fleet.ok("down")
    words = fleet.argv("up", "--detach")
    pair = [
        subprocess.Popen(
            words, cwd=fleet.path, env=fleet.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [one.communicate(timeout=30)[1].decode() for one in pair]
    assert sorted(one.returncode for one in pair) == [0, 8], said
    assert fleet.pid("one") != pid
    assert count(fleet, "one") == 1


def test_a_keeper_that_is_told_to_end_stops_everything_in_order_and_ends_with_0(fleet: Fleet) -> None:
    fleet.write(
        {
            "base": {"command": python(STAY)},
            "top": {"command": python(STAY), "depends_on": {"base": "started"}},
        }
    )
    with subprocess.Popen(
        fleet.argv("up", "--exec"),
        cwd=fleet.path,
        env=fleet.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as keeper:
        until((fleet.home / "control.sock").exists, "there is a control socket")
        for name in ("base", "top"):
            fleet.until_log(name, "here")
        pids = {name: fleet.pid(name) for name in ("base", "top")}
        assert keeper.pid == fleet.keeper
        os.kill(keeper.pid, signal.SIGTERM)
        assert keeper.wait(20) == 0, keeper.communicate()
    assert not any(alive(pid) for pid in pids.values())
    assert fleet.processes() == []
    assert not (fleet.home / "control.sock").exists()


@pytest.mark.skipif(root_of("v2") is None, reason="no control group of version 2 can be made here")
def test_what_only_its_control_group_gives_away_is_found_and_stopped(fleet: Fleet) -> None:
    # Neither environment nor session nor a recorded pid: its leader has ended by the time of the next up.
    hide = f"env -i setsid {shlex.join(python(STAY, f'{fleet.path}/hidden'))} &"
    with made_group("v2") as base:
        group = {"ORCHESTRA_CGROUP": str(base)}
        fleet.write({"web": {"command": ["sh", "-c", f"{hide} exec {shlex.join(python(STAY))}"]}})
        fleet.up(**group)
        fleet.until_log("web", "here")
        until(lambda: count(fleet, "hidden") == 1, "the hidden one is there")
        hidden, web = next(iter(marked(f"{fleet.path}/hidden"))), fleet.pid("web")
        assert fleet.daemon()["cgroups"] == {"version": 2, "bases": [str(base)], "limits": []}
        daemon = fleet.daemon()["pid"]
        fleet.kill(fleet.keeper)
        until(lambda: not alive(daemon), "the daemon ends by itself")
        fleet.kill(web)  # the one that environment and journal would have given away
        fleet.up(**group)
        until(lambda: not alive(hidden), "it was found")
        assert f"(pid {hidden}) of web" in fleet.said()
        fleet.ok("down")
        assert [path for path in base.iterdir() if path.is_dir()] == []
