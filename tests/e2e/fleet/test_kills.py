"""The daemon and the logger may be killed at any moment: no service notices, no line and no exit is lost."""

import json
import os
import signal
import subprocess
import sys

import pytest

from benchmarks.soak import count_lines
from orchestra_supervisor.control_client import ControlClient, NoDaemon
from orchestra_supervisor.control_home import socket_path
from tests.e2e.fleet_driver import ROOT, Fleet, alive, python, ticks, until

WAITER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.write(1, b"here\\n")
signal.sigwait([signal.SIGUSR1])
sys.exit(7)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "kills", "more"), [("daemon", 8, ("--nudge",)), ("logger", 6, ()), ("both", 6, ("--nudge",))]
)
def test_kills_at_random_moments_lose_no_line_and_replace_no_service(
    target: str, kills: int, more: tuple[str, ...]
) -> None:
    options = ["--services", "6", "--rate", "500", "--seconds", "4", "--rotate", "20KB", *more]
    argv = [
        sys.executable,
        str(ROOT / "benchmarks/soak.py"),
        "--target",
        target,
        "--kills",
        str(kills),
        "--json",
    ]
    done = subprocess.run(
        [*argv, *options],
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    result = json.loads(done.stdout)
    assert (result["kills"], result["is_whole"]) == (kills, True)
    assert result["written"] > 6 * 500 * 2
    assert result["packed"] > 0, "logs were rotated meanwhile"


def test_the_count_of_lines_sees_each_kind_of_loss() -> None:
    def count(*lines: bytes) -> tuple[int, ...]:
        found = count_lines("a", 3, lines)
        assert found.is_whole == (not any((found.lost, found.repeated, found.disordered, found.foreign)))
        return found.lost, found.repeated, found.disordered, found.foreign

    assert count(b"a 1\n", b"a 2\n", b"a 3\n") == (0, 0, 0, 0)
    assert count(b"a 1\n", b"a 3\n") == (1, 0, 0, 0)
    assert count(b"a 1\n", b"a 2\n", b"a 2\n", b"a 3\n") == (0, 1, 0, 0)
    assert count(b"a 1\n", b"a 3\n", b"a 2\n") == (0, 0, 1, 0)
    assert count(b"a 1\n", b"a 2a 3\n", b"a 4\n") == (2, 0, 0, 2)


def test_exits_while_the_daemon_is_dead_are_reported_as_they_were_and_acted_on(fleet: Fleet) -> None:
    command = python(WAITER)
    fleet.write(
        {
            "again": {"command": command, "restart": "on-failure"},
            "never": {"command": command, "restart": "never"},
            "right": {"command": command, "restart": {"policy": "on-failure", "success_exit_codes": [7]}},
            "shot": {"command": command, "restart": "never"},
            "calm": {"command": command},
        }
    )
    fleet.up()
    before = {name: fleet.pid(name) for name in ("again", "never", "right", "shot", "calm")}
    for name in before:
        fleet.until_log(name, "here")
    fleet.kill_daemon()
    for name in ("again", "never", "right"):
        os.kill(before[name], signal.SIGUSR1)
    os.kill(before["shot"], signal.SIGKILL)
    until(lambda: not any(alive(before[name]) for name in before if name != "calm"), "four have ended")
    with pytest.raises(NoDaemon):  # they ended in a time without a daemon
        ControlClient(socket_path(fleet.home)).health()

    again = fleet.until_state("again", "ready")
    assert again["pid"] != before["again"]
    assert again["restarts"] == 1
    exited = fleet.until_event("service.exited", "again")
    assert "7" in str(exited["message"])
    never, right, shot, calm = (fleet.service(name) for name in ("never", "right", "shot", "calm"))
    assert (never["state"], never["exit"]["code"], never["exit"]["success"]) == ("failed", 7, False)
    assert (right["state"], right["exit"]["code"], right["exit"]["success"]) == ("completed", 7, True)
    assert (shot["state"], shot["exit"]["signal"]) == ("failed", "SIGKILL")
    assert (calm["state"], calm["pid"], calm["restarts"]) == ("ready", before["calm"], 0)


def test_a_killed_logger_is_replaced_and_told_and_the_daemon_stays(fleet: Fleet) -> None:
    fleet.write({"calm": {"command": python(WAITER)}})
    fleet.up()
    pid = fleet.pid("calm")
    daemon, logger, began = fleet.role("daemon"), fleet.role("logger"), ticks(pid)
    assert logger is not None
    fleet.kill(logger)
    new = until(lambda: fleet.role("logger"), "there is a logger")
    assert new != logger
    assert fleet.until_event("role.exited")["data"]["pid"] == logger
    assert fleet.until_event("role.started")["data"]["pid"] == new
    assert until(lambda: fleet.daemon()["logger_pid"] == new, "status names the new logger")
    assert (fleet.role("daemon"), fleet.pid("calm"), ticks(pid)) == (daemon, pid, began)


COUNTER = """
import os, signal, sys
with open(sys.argv[1], "a", encoding="ascii") as file:
    file.write(f"{os.getpid()}\\n")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signal.sigwait([signal.SIGUSR1])
"""


def test_a_crash_is_followed_by_a_new_process_while_the_daemon_does_nothing(fleet: Fleet) -> None:
    """A stopped daemon decides nothing: what follows can only be by its standing order."""
    pids = fleet.path / "pids"
    fleet.write({"web": {"command": python(COUNTER, pids), "restart": "always"}})
    fleet.up()
    first = fleet.pid("web")
    until(lambda: fleet.events("service.ready", "web"), "the daemon knows")
    daemon = fleet.role("daemon")
    assert daemon is not None
    fleet.kill(daemon, signal.SIGSTOP)
    try:
        fleet.kill(first)
        second = until(
            lambda: next((int(pid) for pid in pids.read_text(encoding="ascii").split()[1:]), None),
            "another process follows",
        )
        fleet.kill(second)
        until(lambda: not alive(second), "it is gone")
        assert len(pids.read_text(encoding="ascii").split()) == 2, "one order is good for one end"
    finally:
        fleet.kill(daemon, signal.SIGCONT)
    fleet.until_state("web", "backoff", "starting", "ready")
    web = fleet.until_state("web", "ready")
    assert web["restarts"] == 2
    third = until(lambda: pids.read_text(encoding="ascii").split()[2:], "a third one, by policy")
    assert [web["pid"]] == [int(pid) for pid in third]
    exits = [event["data"]["signal"] for event in fleet.events("service.exited", "web")]
    assert exits == ["SIGKILL", "SIGKILL"]


def test_a_stop_while_another_follows_leaves_nothing(fleet: Fleet) -> None:
    pids = fleet.path / "pids"
    fleet.write({"web": {"command": python(COUNTER, pids), "restart": "always"}})
    fleet.up()
    for _ in range(5):
        fleet.ok("start", "web")
        web = fleet.until_state("web", "ready")
        fleet.kill(int(web["pid"]))
        fleet.ok("stop", "web")
        assert fleet.service("web")["state"] == "stopped"
        assert not [pid for pid in pids.read_text(encoding="ascii").split() if alive(int(pid))]
