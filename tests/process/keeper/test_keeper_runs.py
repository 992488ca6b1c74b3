"""One run from spawn to gone: what the process gets, how it fails, how its end is told."""

import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
from pathlib import Path

import pytest

from tests.process.keeper_driver import DEADLINE, Keeper, is_alive, spawn_message, wait_until

LOG = {"path": "logs/a.log", "options": {"max_bytes": 1000}, "secrets": ["s"]}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users and raises priority")


def read_all(fd: int) -> str:
    """Read a pipe to its end."""
    data = b""
    while select.select([fd], [], [], DEADLINE)[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            return data.decode()
        data += chunk
    pytest.fail(f"the pipe was not closed: {data!r}")


def output_of(daemon, logger, *argv: str, **extra: object) -> str:
    """Run a command to its end and return its standard output."""
    spawned = daemon.request(spawn_message("out-1", *argv, log=LOG, **extra))
    assert spawned["type"] == "spawned", spawned
    opened, fds = logger.expect(
        lambda m: m.get("type") == "open" and m["stream"] == "stdout", "the read end of stdout"
    )
    assert opened["run"] == "out-1"
    text = read_all(fds[0])
    os.close(fds[0])
    daemon.event("gone", run="out-1")
    return text


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


def test_a_realtime_signal_is_named(daemon):
    daemon.request(spawn_message("a-1", "sh", "-c", f"kill -{signal.SIGRTMIN + 3} $$"))
    assert daemon.event("exit", run="a-1")["signal"] == "SIGRTMIN+3"


def test_processor_time_of_the_run_is_counted(daemon):
    daemon.request(spawn_message("a-1", "sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"))
    assert daemon.event("gone", run="a-1")["utime"] > 0.005


def test_the_process_leads_its_own_session_and_has_nothing_of_the_keeper(daemon, logger):
    script = """
import os, json, signal, resource
status = dict(l.split(":", 1) for l in open("/proc/self/status"))
print(json.dumps({
    "ids": [os.getpid() == os.getsid(0) == os.getpgid(0)],
    "fds": sorted(os.listdir("/proc/self/fd"))[:-1],
    "stdin": os.readlink("/proc/self/fd/0"),
    "env": sorted(k for k in os.environ if k != "LC_CTYPE"),
    "run": os.environ["ORCHESTRA_RUN_ID"],
    "cwd": os.getcwd(),
    "blocked": status["SigBlk"].strip(),
    "ignored": int(status["SigIgn"], 16) & (1 << 12),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
}))
"""
    text = output_of(
        daemon,
        logger,
        sys.executable,
        "-I",
        "-S",
        "-c",
        script,
        env={"A": "1", "ODD": "a=b\udcff"},
        cwd="/usr",
    )
    seen = json.loads(text)
    assert seen["ids"] == [True]
    assert seen["fds"] == ["0", "1", "2"]
    assert seen["stdin"] == "/dev/null"
    assert seen["env"] == ["A", "ODD", "ORCHESTRA_RUN_ID"]
    assert seen["run"] == "out-1"
    assert seen["cwd"] == "/usr"
    assert int(seen["blocked"], 16) == 0
    assert seen["files"] == list(resource.getrlimit(resource.RLIMIT_NOFILE))


def test_every_signal_has_its_default_disposition_sigpipe_too(daemon, logger):
    text = output_of(daemon, logger, "cat", "/proc/self/status")
    status = dict(line.split(":", 1) for line in text.splitlines())
    # 32 and 33 belong to the C library, which lets nobody set them; its posix_spawn leaves them ignored.
    assert int(status["SigIgn"], 16) & ~(1 << 31 | 1 << 32) == 0
    assert int(status["SigCgt"], 16) == 0
    assert int(status["SigBlk"], 16) == 0


def test_bytes_that_are_not_utf8_reach_the_process_as_they_are(daemon, logger):
    env = {"X": "é\udcff", "PATH": os.environ["PATH"]}
    assert output_of(daemon, logger, "sh", "-c", 'printf %s "$X" | od -An -tx1', env=env).split() == [
        "c3",
        "a9",
        "ff",
    ]


@needs_root
def test_umask_nice_oom_limits_and_user_are_as_asked(daemon, logger):
    script = "umask; nice; ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj"
    script += "; id -u; id -g; id -G; ulimit -s"
    text = output_of(
        daemon,
        logger,
        "sh",
        "-c",
        script,
        umask=0o27,
        nice=-3,
        oom_score_adj=17,
        rlimits={"NOFILE": [77, 99], "RLIMIT_CORE": [0, None], "stack": [8_192_000, 8_192_000]},
        user=4242,
        group="4343",
        groups=[4343, "4444", 5],
    )
    assert text.split("\n")[:8] == ["0027", "-3", "77", "99", "0", "17", "4242", "4343"]
    assert set(text.split("\n")[8].split()) == {"4343", "4444", "5"}
    assert text.split("\n")[9] == "8000"


@needs_root
def test_a_user_by_name_brings_its_groups(daemon, logger):
    text = output_of(daemon, logger, "sh", "-c", "id -un; id -gn; id -G", user="nobody")
    name, group, groups = text.splitlines()
    assert name == "nobody"
    assert group
    assert groups.split() == [str(gid) for gid in os.getgrouplist("nobody", int(groups.split()[0]))]


FAILURES = {
    "no such program": ({"argv": ["no-such-program-here"]}, "exec", errno.ENOENT),
    "no such path": ({"argv": ["/no/such/program"]}, "exec", errno.ENOENT),
    "not executable": ({"argv": ["/etc/passwd"]}, "exec", errno.EACCES),
    "a directory": ({"argv": ["/etc"]}, "exec", errno.EACCES),
    "environment too big": ({"env": {"BIG": "x" * 200_000}}, "exec", errno.E2BIG),
    "empty PATH": ({"argv": ["true"], "env": {"PATH": ""}}, "exec", errno.ENOENT),
    "no such directory": ({"cwd": "/no/such/dir"}, "chdir", errno.ENOENT),
    "cwd is a file": ({"cwd": "/etc/passwd"}, "chdir", errno.ENOTDIR),
    "soft over hard": ({"rlimits": {"NOFILE": [100, 50]}}, "rlimit", errno.EINVAL),
    "no such user": ({"user": "no-such-user"}, "user", errno.ENOENT),
    "no such group": ({"group": "no-such-group"}, "group", errno.ENOENT),
    "no such supplementary group": ({"groups": ["no-such-group"]}, "group", errno.ENOENT),
    "a bare uid needs a group": ({"user": 987654}, "group", errno.ENOENT),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_comes_back_as_stage_and_errno_and_leaves_nothing(keeper, daemon, case):
    wrong, stage, number = FAILURES[case]
    reply = daemon.request({**spawn_message("a-1", "sleep", "100", log=LOG), **wrong})
    assert (reply["type"], reply["stage"], reply["errno"]) == ("spawn_failed", stage, number), reply
    assert reply["message"]
    again = daemon.request(spawn_message("a-1", "true"))
    assert again["type"] == "spawned", "slot and run id are free again"
    daemon.event("exit", run="a-1")
    daemon.event("gone", run="a-1")
    assert not [message for message, _ in daemon.inbox], "a failure has no exit and no gone"


def test_a_program_is_looked_up_in_the_path_of_its_own_environment(daemon, tmp_path):
    denied, good = tmp_path / "denied", tmp_path / "good"
    for directory, mode in ((denied, 0o644), (good, 0o755)):
        directory.mkdir()
        (directory / "prog").write_text("#!/bin/sh\nexit 5\n", encoding="utf-8")
        (directory / "prog").chmod(mode)
    daemon.request(spawn_message("a-1", "prog", env={"PATH": f"{denied}:/etc/passwd:{good}"}))
    assert daemon.event("exit", run="a-1")["code"] == 5
    reply = daemon.request(spawn_message("b-1", "prog", env={"PATH": f"{denied}:/nowhere"}))
    assert (reply["stage"], reply["errno"]) == ("exec", errno.EACCES)


def test_without_free_descriptors_a_spawn_fails_at_pipe_and_the_keeper_goes_on(tmp_path):
    with Keeper(tmp_path, prefix=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]) as keeper:
        daemon = keeper.greeted_daemon()
        replies = [daemon.request(spawn_message(f"s{n}-1", "sleep", "100", log=LOG)) for n in range(20)]
        failed = [reply for reply in replies if reply["type"] == "spawn_failed"]
        assert failed
        assert {(reply["stage"], reply["errno"]) for reply in failed} == {("pipe", errno.EMFILE)}
        for reply in replies:
            if reply["type"] == "spawned":
                daemon.request({"type": "stop", "run": reply["run"], "plan": {"steps": []}})
                daemon.event("gone", run=reply["run"])
        assert daemon.request(spawn_message("last-1", "true"))["type"] == "spawned"
        assert "a fault of ours" not in keeper.stderr()


UNPRIVILEGED = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(p).exists()), "")
REFUSALS = {
    "nice": ({"nice": -5}, errno.EACCES),
    "oom": ({"oom_score_adj": -500}, errno.EACCES),
    "user": ({"user": "root"}, errno.EPERM),
    "group": ({"group": 0}, errno.EPERM),
    "rlimit": ({"rlimits": {"NOFILE": [10, None]}}, errno.EPERM),
    "chdir": ({"cwd": "/root"}, errno.EACCES),
}


@needs_root
@pytest.mark.skipif(not UNPRIVILEGED, reason="no interpreter that other users may run")
def test_what_an_unprivileged_keeper_may_not_do_fails_at_its_stage(tmp_path):
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c"]
    prefix += ['ulimit -n 4096; exec "$@"', "sh"]
    with Keeper(tmp_path, prefix=prefix, python=UNPRIVILEGED) as keeper:
        daemon = keeper.greeted_daemon()
        for stage, (wrong, number) in REFUSALS.items():
            reply = daemon.request(spawn_message("a-1", "true", **wrong))
            assert (reply["type"], reply["stage"], reply["errno"]) == ("spawn_failed", stage, number), reply
        own = spawn_message("a-1", "id", "-u", user=65534, group=65534, cwd="/")
        assert daemon.request(own)["type"] == "spawned", "what it is already needs no right"
        daemon.event("gone", run="a-1")


def test_a_spawn_with_wrong_types_is_answered_and_nothing_started(daemon):
    for wrong in ({"argv": [1]}, {"env": None}, {"rlimits": []}, {"stop": "now"}, {"slot": 5}):
        reply = daemon.request({**spawn_message("a-1", "sleep", "100"), **wrong})
        assert (reply["type"], reply["code"]) == ("error", "bad_message")
    assert daemon.hello()[1] == []


def test_error_messages_never_show_a_value_of_the_environment(keeper, daemon):
    reply = daemon.request(spawn_message("a-1", "true", env={"KEY": "hunter2\0"}))
    assert reply["code"] == "bad_message"
    assert "KEY" in str(reply["message"])
    assert "hunter2" not in str(reply)
    assert "hunter2" not in keeper.stderr()


def test_a_slot_holds_one_run_until_nothing_of_it_is_left(daemon, tmp_path):
    script = f"setsid sleep 100 & echo $! > {tmp_path}/pid; exit 0"
    daemon.request(spawn_message("a-1", "sh", "-c", script, slot="a"))
    exit_event = daemon.event("exit", run="a-1")
    assert len(exit_event["remaining"]) == 1
    reply = daemon.request(spawn_message("a-2", "true", slot="a"))
    assert (reply["code"], "a-1" in reply["message"]) == ("slot_busy", True)
    assert daemon.request(spawn_message("a-1", "true", slot="b"))["code"] == "run_exists"
    os.kill(exit_event["remaining"][0], signal.SIGKILL)
    daemon.event("gone", run="a-1")
    assert daemon.request(spawn_message("a-1", "true", slot="b"))["code"] == "run_exists", (
        "until acknowledged"
    )
    daemon.send({"type": "ack", "run": "a-1"})
    assert daemon.request(spawn_message("a-1", "true", slot="a"))["type"] == "spawned"


def test_a_program_that_cannot_be_opened_yet_blocks_nobody_and_can_be_stopped(keeper, daemon, tmp_path):
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    program.chmod(0o755)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(program, os.O_RDONLY)
    try:
        # A write lease makes every open of the file wait for us, as a dead mount would.
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases here: {error}")
        daemon.send({**spawn_message("slow-1", str(program)), "id": 900})
        daemon.send({**spawn_message("slow-2", str(program), slot="other"), "id": 901})
        daemon.request(spawn_message("b-1", "true"))
        daemon.event("gone", run="b-1")
        runs = {message["run"]: message["phase"] for message in daemon.hello()[1] if message["type"] == "run"}
        assert runs["slow-1"] == runs["slow-2"] == "exec"
        assert daemon.request({"type": "stop", "run": "slow-1"})["type"] == "ok"
        failed, _ = daemon.expect(lambda m: m.get("re") == 900, "the reply to the blocked spawn")
        assert (failed["type"], failed["stage"], failed["errno"]) == ("spawn_failed", "exec", errno.ECANCELED)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        assert daemon.expect(lambda m: m.get("re") == 901, "the exec that was let go")[0]["type"] == "spawned"
        assert daemon.event("exit", run="slow-2")["code"] == 9
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)


def test_a_spawn_that_failed_between_two_daemons_is_told_to_the_second(keeper, daemon, tmp_path):
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(program, os.O_RDONLY)
    try:
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases here: {error}")
        daemon.send({**spawn_message("slow-1", str(program)), "id": 900})
        daemon.sync()
        pid = next(m["pid"] for m in daemon.hello()[1] if m["type"] == "run")
        daemon.kill()
        second = keeper.daemon()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the child is reaped")
        _, snapshot = second.hello()
        assert not [m for m in snapshot if m["type"] == "run"]
        failed = second.event("spawn_failed", run="slow-1")
        assert (failed["re"], failed["errno"]) == (None, errno.ECANCELED)
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)


def test_the_next_daemon_gets_runs_exits_and_notes_of_before(keeper, daemon):
    daemon.request(spawn_message("a-1", "sleep", "100", note={"attempt": 3}))
    b_pid = daemon.request(spawn_message("b-1", "sleep", "100"))["pid"]
    daemon.send({"type": "note", "slot": "b", "note": "kept"})
    daemon.send({"type": "note", "slot": "c", "note": "dropped"})
    daemon.send({"type": "note", "slot": "c", "note": None})
    daemon.sync()
    daemon.kill()
    os.kill(b_pid, signal.SIGINT)
    wait_until(lambda: not Path(f"/proc/{b_pid}").exists(), "b is reaped")
    second = keeper.daemon()
    welcome, snapshot = second.hello()
    assert (welcome["daemon_starts"], welcome["keeper_pid"], welcome["shutdown"]) == (2, keeper.pid, False)
    runs = {message["run"]: message for message in snapshot if message["type"] == "run"}
    assert (runs["a-1"]["phase"], runs["a-1"]["stopping"]) == ("live", False)
    assert (runs["b-1"]["phase"], runs["b-1"]["signal"]) == ("gone", "SIGINT")
    assert runs["b-1"]["at_mono"] <= runs["b-1"]["gone_mono"]
    notes = {message["slot"]: message["note"] for message in snapshot if message["type"] == "slot_note"}
    assert notes == {"a": {"attempt": 3}, "b": "kept"}
    second.send({"type": "ack", "run": "b-1"})
    second.send({"type": "ack", "run": "a-1"})
    assert [message["run"] for message in second.hello()[1] if message["type"] == "run"] == ["a-1"]


def test_what_a_daemon_asked_for_before_it_was_killed_is_carried_out(keeper, daemon):
    for number in range(20):
        daemon.channel.send({**spawn_message(f"s{number}-1", "sleep", "100"), "id": number + 100})
    daemon.kill()
    _, snapshot = keeper.daemon().hello()
    assert len([message for message in snapshot if message["type"] == "run"]) == 20


def test_stop_sends_the_signal_and_gone_follows(daemon):
    pid = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
    assert daemon.request({"type": "stop", "run": "a-1"})["type"] == "ok"
    assert daemon.event("exit", run="a-1")["signal"] == "SIGTERM"
    daemon.event("gone", run="a-1")
    assert not is_alive(pid)


def test_a_signal_reaches_its_scope_and_a_wrong_one_is_refused(daemon, tmp_path):
    member = (
        f"trap 'echo member >> {tmp_path}/got' USR1; echo up > {tmp_path}/up; while :; do sleep 0.02; done"
    )
    leader = f"trap 'echo leader >> {tmp_path}/got' USR1; (sh -c \"$M\") & while :; do sleep 0.02; done"
    daemon.request(spawn_message("a-1", "sh", "-c", leader, env={"PATH": os.environ["PATH"], "M": member}))
    wait_until((tmp_path / "up").exists, "both traps are set")
    got = tmp_path / "got"
    assert (
        daemon.request({"type": "signal", "run": "a-1", "signal": "SIGUSR1", "scope": "leader"})["type"]
        == "ok"
    )
    wait_until(lambda: got.exists() and got.read_text(encoding="utf-8") == "leader\n", "the leader got it")
    assert (
        daemon.request({"type": "signal", "run": "a-1", "signal": "SIGKILL", "scope": "tree"})["type"] == "ok"
    )
    daemon.event("gone", run="a-1")
    assert got.read_text(encoding="utf-8") == "leader\n", "the member never got SIGUSR1"
    codes = [
        daemon.request({"type": "signal", **wrong}).get("code")
        for wrong in (
            {"run": "a-1", "signal": "SIGTERM", "scope": "leader"},
            {"run": "nobody", "signal": "SIGTERM", "scope": "leader"},
            {"run": ["a"], "signal": "SIGTERM", "scope": "leader"},
        )
    ]
    assert codes == ["no_such_run"] * 3
    daemon.request(spawn_message("b-1", "sleep", "100"))
    assert daemon.request({"type": "signal", "run": "b-1", "signal": "SIGNOPE"})["code"] == "bad_signal"
    assert daemon.request({"type": "signal", "run": "b-1", "signal": 9})["code"] == "bad_signal"
    wrong_scope = {"type": "signal", "run": "b-1", "signal": "SIGTERM", "scope": "all"}
    assert daemon.request(wrong_scope)["code"] == "bad_message"
