"""Strays and stops: nothing of a run escapes, and nobody else is touched."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.process.keeper_driver import DEADLINE, Keeper, is_alive, spawn_message, wait_until

PLAN = {"steps": [["SIGTERM", 0.3]], "scope": "group"}
NO_TAG = ["prlimit", "--locks=unlimited"]  # takes the mark off that the limit is


def pid_in(path: Path) -> int:
    """Return the pid that a process wrote into a file, once it is there."""
    wait_until(lambda: path.exists() and path.read_text(encoding="utf-8").endswith("\n"), f"a pid in {path}")
    return int(path.read_text(encoding="utf-8"))


def children_of(pid: int) -> list[int]:
    return [
        int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    ]


def test_a_setsid_grandchild_that_ignores_sigterm_is_gone_within_grace_and_a_second(daemon, tmp_path):
    inner = f"trap '' TERM HUP INT; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    script = 'setsid sh -c "$INNER" & wait'
    env = {"PATH": os.environ["PATH"], "INNER": inner}
    daemon.request(spawn_message("a-1", "sh", "-c", script, env=env, stop=PLAN))
    stray = pid_in(tmp_path / "pid")
    started = time.monotonic()
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")
    assert 0.25 < time.monotonic() - started < 1.3
    assert not is_alive(stray)


# How a process that left the tree of its living leader is still known, each way alone.
ESCAPES = {
    "by the inherited limit": ("env -i setsid", []),
    "by the run id in its environment": ("setsid", NO_TAG),
    "by its session": ("env -i", NO_TAG),
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_grandchild_left_behind_by_a_crash_is_known_and_stopped(daemon, tmp_path, escape):
    words, prefix = ESCAPES[escape]
    os.mkfifo(tmp_path / "never")
    # Not another exec: in the midst of one its environment cannot be read, and the exit tells of it too late.
    inner = f"echo $$ > {tmp_path}/pid; read word < {tmp_path}/never"
    script = (
        f"({words} /bin/sh -c '{inner}' &); while ! [ -s {tmp_path}/pid ]; do sleep 0.01; done; kill -9 $$"
    )
    daemon.request(spawn_message("a-1", *prefix, "sh", "-c", script, stop=PLAN))
    stray = pid_in(tmp_path / "pid")
    event = daemon.event("exit", run="a-1")
    assert (event["signal"], event["remaining"]) == ("SIGKILL", [stray])
    assert is_alive(stray)
    daemon.request({"type": "stop", "run": "a-1"})
    gone = daemon.event("gone", run="a-1")
    assert gone["at_mono"] - event["at_mono"] < DEADLINE
    assert not is_alive(stray)


def test_a_grandchild_that_made_itself_a_daemon_gets_the_signals_of_the_plan_too(daemon, tmp_path):
    inner = (
        f"trap 'echo bye > {tmp_path}/bye; exit' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.02; done"
    )
    env = {"PATH": os.environ["PATH"], "INNER": inner}
    script = '(setsid sh -c "$INNER" &) ; exec sleep 100'
    plan = {"steps": [["SIGTERM", 60.0]], "scope": "group"}
    daemon.request(spawn_message("a-1", "sh", "-c", script, env=env, stop=plan))
    pid_in(tmp_path / "pid")
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")
    assert (tmp_path / "bye").exists()


def test_a_grandchild_without_any_mark_is_known_by_the_walk_of_the_stop(daemon, tmp_path):
    inner = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do /usr/bin/env sleep 0.1; done"
    env = {"PATH": os.environ["PATH"], "INNER": inner}
    # The leader dies at SIGTERM, at which its child becomes ours without a mark on it.
    daemon.request(
        spawn_message("a-1", *NO_TAG, "sh", "-c", 'env -i setsid sh -c "$INNER" & wait', env=env, stop=PLAN)
    )
    stray = pid_in(tmp_path / "pid")
    daemon.request({"type": "stop", "run": "a-1"})
    event = daemon.event("exit", run="a-1")
    assert stray in event["remaining"]
    daemon.event("gone", run="a-1")
    assert not is_alive(stray)


def test_a_grandchild_that_holds_the_pipe_delays_gone_but_not_exit(daemon, logger, tmp_path):
    log = {"path": "x"}
    inner = f"echo $$ > {tmp_path}/pid; exec sleep 100"
    script = f"(sh -c '{inner}' &); while ! [ -s {tmp_path}/pid ]; do :; done; exit 4"
    daemon.request(spawn_message("a-1", "sh", "-c", script, log=log))
    event = daemon.event("exit", run="a-1")
    stray = pid_in(tmp_path / "pid")
    assert (event["code"], event["remaining"]) == (4, [stray])
    logger.event("open", stream="stdout")
    daemon.sync()
    assert not [m for m, _ in daemon.inbox if m["type"] == "gone"]
    os.kill(stray, signal.SIGKILL)
    daemon.event("gone", run="a-1")


FORKER = """
import os, sys, time
for n in range(500):
    if os.fork() == 0:
        if n % 2:
            os.setsid()
        time.sleep(100)
        os._exit(0)
open(sys.argv[1], "w").write("1\\n")
{after}
"""


@pytest.mark.parametrize("after", ["time.sleep(100)", "os.kill(os.getpid(), 9)"])
def test_five_hundred_forked_children_are_all_gone(daemon, tmp_path, after):
    argv = [sys.executable, "-I", "-S", "-c", FORKER.format(after=after), str(tmp_path / "up")]
    leader = daemon.request(spawn_message("a-1", *argv, stop=PLAN))["pid"]
    pid_in(tmp_path / "up")
    if "kill" in after:
        event = daemon.event("exit", run="a-1")
        pids = event["remaining"]
    else:
        pids = children_of(leader)
    assert len(pids) == 500
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")
    assert not [pid for pid in pids if is_alive(pid)]
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "none is left as a zombie"


def test_more_strays_than_descriptors_are_gone_as_well(tmp_path):
    with Keeper(tmp_path, prefix=["sh", "-c", 'ulimit -n 48; exec "$@"', "sh"]) as keeper:
        daemon = keeper.greeted_daemon()
        argv = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            FORKER.replace("500", "60").format(after=""),
            str(tmp_path / "up"),
        ]
        daemon.request(spawn_message("a-1", *argv, stop=PLAN))
        assert len(daemon.event("exit", run="a-1")["remaining"]) == 60
        daemon.request({"type": "stop", "run": "a-1"})
        daemon.event("gone", run="a-1")
        assert "a fault of ours" not in keeper.stderr()


def test_a_run_that_ended_itself_wholly_is_gone_without_a_stop(daemon, tmp_path):
    daemon.request(spawn_message("a-1", "sh", "-c", "(setsid sh -c '(sleep 0.2 &) ; sleep 0.1' &); exit 0"))
    assert daemon.event("exit", run="a-1")["code"] == 0
    daemon.event("gone", run="a-1")


def test_a_stopped_leader_is_continued_so_that_it_can_act(daemon, tmp_path):
    script = f"trap 'echo bye > {tmp_path}/bye; exit 0' TERM; echo $$ > {tmp_path}/pid"
    script += "; while :; do sleep 0.02; done"
    pid = daemon.request(spawn_message("a-1", "sh", "-c", script))["pid"]
    pid_in(tmp_path / "pid")
    os.kill(pid, signal.SIGSTOP)
    daemon.request({"type": "stop", "run": "a-1", "plan": {"steps": [["SIGTERM", 8.0]]}})
    assert daemon.event("exit", run="a-1")["code"] == 0
    daemon.event("gone", run="a-1")
    assert (tmp_path / "bye").exists()


def test_the_steps_of_a_plan_follow_one_another_until_one_works(daemon, tmp_path):
    script = f"""
trap 'echo int >> {tmp_path}/got' INT
trap 'echo usr >> {tmp_path}/got' USR1
trap 'echo quit >> {tmp_path}/got; exit 3' QUIT
echo $$ > {tmp_path}/pid
while :; do sleep 0.01; done"""
    daemon.request(spawn_message("a-1", "sh", "-c", script))
    pid_in(tmp_path / "pid")
    steps = [["SIGINT", 0.15], ["SIGUSR1", 0.15], ["SIGQUIT", 60.0], ["SIGTERM", 60.0]]
    daemon.request({"type": "stop", "run": "a-1", "plan": {"steps": steps}})
    daemon.event("gone", run="a-1")
    assert (tmp_path / "got").read_text(encoding="utf-8").split() == ["int", "usr", "quit"]


def test_scope_leader_signals_the_leader_alone_and_sigkill_still_reaches_all(daemon, tmp_path):
    member = (
        f"trap 'echo member >> {tmp_path}/got' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.02; done"
    )
    leader = (
        f"trap 'echo leader >> {tmp_path}/got; exit 0' TERM; (sh -c \"$M\" &) ; while :; do sleep 0.02; done"
    )
    env = {"PATH": os.environ["PATH"], "M": member}
    plan = {"steps": [["SIGTERM", 600.0], ["SIGINT", 600.0]], "scope": "leader"}
    daemon.request(spawn_message("a-1", "sh", "-c", leader, env=env, stop=plan))
    stray = pid_in(tmp_path / "pid")
    daemon.request({"type": "stop", "run": "a-1"})
    assert stray in daemon.event("exit", run="a-1")["remaining"]
    daemon.event("gone", run="a-1")  # with the leader the waits of the plan end
    assert (tmp_path / "got").read_text(encoding="utf-8") == "leader\n"


def test_a_second_stop_replaces_the_plan_and_no_steps_kill_at_once(daemon, tmp_path):
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    daemon.request(spawn_message("a-1", "sh", "-c", script, stop={"steps": [["SIGTERM", 600.0]]}))
    pid_in(tmp_path / "pid")
    assert daemon.request({"type": "stop", "run": "a-1"})["type"] == "ok"
    assert [m["stopping"] for m in daemon.hello()[1]] == [True]
    assert daemon.request({"type": "stop", "run": "a-1", "plan": {"steps": []}})["type"] == "ok"
    assert daemon.event("exit", run="a-1")["signal"] == "SIGKILL"
    daemon.event("gone", run="a-1")
    assert daemon.request({"type": "stop", "run": "a-1"})["type"] == "ok", "what was asked for is so"
    daemon.send({"type": "ack", "run": "a-1"})
    assert daemon.request({"type": "stop", "run": "a-1"})["code"] == "no_such_run"


def test_a_stop_goes_on_when_its_daemon_dies(keeper, daemon, tmp_path):
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    pid = daemon.request(spawn_message("a-1", "sh", "-c", script, stop=PLAN))["pid"]
    pid_in(tmp_path / "pid")
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.kill()
    wait_until(lambda: not is_alive(pid), "the plan is carried out")
    follower = keeper.daemon()
    _, (record,) = follower.hello()
    # Dead is not yet seen to be dead: that comes with the snapshot or just after it.
    ended = record if "signal" in record else follower.event("exit", run="a-1")
    assert (ended["run"], ended["signal"]) == ("a-1", "SIGKILL")


def test_a_process_that_forks_all_the_time_is_caught(daemon, tmp_path):
    script = """
import os, sys, time, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write("1\\n")
end = time.monotonic() + 20
while time.monotonic() < end:  # each generation leaves its session and lets its parent die
    time.sleep(0.001)
    if os.fork():
        os._exit(0)
    os.setsid()
"""
    daemon.request(
        spawn_message(
            "a-1", sys.executable, "-I", "-S", "-c", script, str(tmp_path / "up"), stop={"steps": []}
        )
    )
    pid_in(tmp_path / "up")
    daemon.event("exit", run="a-1")
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")


def test_an_orphan_that_belongs_to_no_run_is_reaped_and_never_signalled(tmp_path):
    orphan = f"(setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 0.5' &); exec \"$@\""
    with Keeper(tmp_path, daemon_prefix=["sh", "-c", orphan, "sh"]) as keeper:
        daemon = keeper.greeted_daemon()
        stranger = pid_in(tmp_path / "pid")
        daemon.request(spawn_message("a-1", "sleep", "100"))
        daemon.request({"type": "stop", "run": "a-1"})
        daemon.event("gone", run="a-1")
        assert is_alive(stranger), "it is in nobody's plan"
        wait_until(lambda: not Path(f"/proc/{stranger}").exists(), "it ends by itself and is reaped")


UNPRIVILEGED = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(p).exists()), "")


@pytest.mark.skipif(os.geteuid() != 0 or not UNPRIVILEGED, reason="needs root, and an interpreter for others")
def test_what_sigkill_does_not_end_is_reported_and_left_when_the_fleet_goes(tmp_path):
    # A program that becomes another user is out of reach of an unprivileged keeper.
    shell = tmp_path / "escaped"
    shell.write_bytes(Path("/usr/bin/setpriv").read_bytes())
    shell.chmod(0o4755)
    if os.statvfs(tmp_path).f_flag & os.ST_NOSUID:
        pytest.skip(f"{tmp_path} is mounted nosuid")
    for place in (tmp_path, *tmp_path.parents):
        if place == Path(tempfile.gettempdir()):
            break
        place.chmod(0o755)
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    with Keeper(tmp_path, prefix=prefix, python=UNPRIVILEGED, patience=0.1) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        argv = [str(shell), "--reuid", "65533", "--regid", "65533", "--clear-groups", "sleep", "60"]
        pid = daemon.request(spawn_message("a-1", *argv, stop={"steps": []}))["pid"]
        try:
            wait_until(
                lambda: "\nUid:\t65533" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8"),
                "it changed its user",
            )
            wrong = {"type": "signal", "run": "a-1", "signal": "SIGTERM", "scope": "leader"}
            assert daemon.request(wrong)["code"] == "not_permitted"
            daemon.request({"type": "stop", "run": "a-1"})
            assert daemon.event("stop_stuck", run="a-1")["pids"] == [pid]
            daemon.send({"type": "quit"})
            logger.event("quit")
            logger.kill()
            daemon.kill()
            assert keeper.wait() == 1
            assert f"({pid}); left behind" in keeper.stderr()
        finally:
            os.kill(pid, signal.SIGKILL)
