"""Commands before, at the stop and after a run: of the run in every way, and bounded."""

import errno
import os
import signal
import time
from pathlib import Path

from tests.process.keeper_driver import Keeper, is_alive, spawn_message, wait_until

SOON = {"steps": [["SIGTERM", 0.3]], "scope": "group"}


def sh(script: str, timeout: float = 20.0) -> dict[str, object]:
    return {"argv": ["sh", "-c", script], "timeout": timeout}


def text_in(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def pid_in(path: Path) -> int:
    wait_until(lambda: text_in(path).endswith("\n"), f"a pid in {path}")
    return int(text_in(path))


def test_commands_before_the_program_run_in_order_where_and_as_it_will(daemon, tmp_path):
    env = {"PATH": os.environ["PATH"], "WORD": "hello"}
    before = [sh(f"sleep 0.05; echo 1 $WORD $PWD >> {tmp_path}/told"), sh(f"echo 2 >> {tmp_path}/told")]
    spawned = daemon.request(
        spawn_message(
            "a-1",
            "sh",
            "-c",
            f"echo 3 >> {tmp_path}/told; exec sleep 100",
            env=env,
            before=before,
            cwd="/usr",
        )
    )
    assert spawned["type"] == "spawned"
    wait_until(lambda: "3" in text_in(tmp_path / "told"), "the program ran")
    assert text_in(tmp_path / "told") == "1 hello /usr\n2\n3\n"


def test_the_program_is_not_run_after_a_command_that_failed(daemon, tmp_path):
    before = [sh("true"), sh("exit 3"), sh(f"touch {tmp_path}/more")]
    failed = daemon.request(spawn_message("a-1", "touch", f"{tmp_path}/ran", before=before))
    assert (failed["type"], failed["stage"]) == ("spawn_failed", "pre_start")
    assert failed["message"] == "pre_start 2 (sh): exit code 3"
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "more").exists()
    assert daemon.request(spawn_message("a-2", "sleep", "100", slot="a"))["type"] == "spawned"


def test_a_command_that_cannot_be_executed_says_why(daemon):
    before = [{"argv": ["/nonexistent/tool"], "timeout": 5}]
    failed = daemon.request(spawn_message("a-1", "sleep", "100", before=before))
    assert (failed["stage"], failed["errno"]) == ("pre_start", errno.ENOENT)
    assert failed["message"] == "pre_start 1 (/nonexistent/tool): No such file or directory"


def test_a_command_that_is_killed_says_by_what(daemon):
    failed = daemon.request(spawn_message("a-1", "sleep", "100", before=[sh("kill -9 $$")]))
    assert failed["message"] == "pre_start 1 (sh): killed by signal 9"


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(daemon, tmp_path):
    before = [sh(f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 100' & sleep 100", 0.3)]
    daemon.send({**spawn_message("a-1", "sleep", "100", before=before), "id": 77})
    helper = pid_in(tmp_path / "pid")
    failed = daemon.event("spawn_failed", run="a-1")
    assert failed["message"] == "pre_start 1 (sh): took too long and was killed"
    assert not is_alive(helper)


def test_a_stop_ends_a_run_that_is_still_at_its_first_commands(daemon, tmp_path):
    before = [sh(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done")]
    daemon.send({**spawn_message("a-1", "sleep", "100", before=before, stop=SOON), "id": 77})
    first = pid_in(tmp_path / "pid")
    assert daemon.request({"type": "stop", "run": "a-1"})["type"] == "ok"
    assert daemon.event("spawn_failed", run="a-1")["errno"] == errno.ECANCELED
    assert not is_alive(first)


def test_what_a_first_command_writes_goes_to_the_log_before_the_program_is_there(daemon, logger, tmp_path):
    log = {"path": str(tmp_path / "a.log")}
    noise = sh("head -c 3000000 /dev/zero; echo done")  # three times what the pipe holds
    daemon.send({**spawn_message("a-1", "sleep", "100", before=[noise], log=log), "id": 77})
    opened, fds = logger.expect(lambda m: m["type"] == "open" and m["stream"] == "stdout", "stdout")
    assert opened["run"] == "a-1"
    got = bytearray()
    os.set_blocking(fds[0], True)
    while not got.endswith(b"done\n"):
        got += os.read(fds[0], 1 << 20)
    assert len(got) == 3_000_005
    assert daemon.event("spawned", run="a-1")


def test_a_stop_command_knows_the_main_process_and_is_enough_when_it_works(daemon, tmp_path):
    traps = f"trap 'echo term >> {tmp_path}/told' TERM; trap 'exit 5' USR1"
    script = f"{traps}; echo $$ > {tmp_path}/pid; while :; do sleep 0.01; done"
    plan = {"steps": [[["sh", "-c", "kill -USR1 $MAINPID"], 20.0], ["SIGTERM", 5.0]]}
    daemon.request(spawn_message("a-1", "sh", "-c", script, stop=plan))
    pid_in(tmp_path / "pid")
    started = time.monotonic()
    daemon.request({"type": "stop", "run": "a-1"})
    assert daemon.event("exit", run="a-1")["code"] == 5
    daemon.event("gone", run="a-1")
    assert time.monotonic() - started < 5
    assert text_in(tmp_path / "told") == ""


def test_a_stop_command_that_fails_is_told_and_followed_by_the_next_step_at_once(daemon):
    plan = {"steps": [[["sh", "-c", "exit 4"], 60.0], ["SIGTERM", 5.0]]}
    daemon.request(spawn_message("a-1", "sleep", "100", stop=plan))
    daemon.request({"type": "stop", "run": "a-1"})
    assert daemon.event("command_failed", run="a-1")["text"] == "exit code 4"
    assert daemon.event("exit", run="a-1")["signal"] == "SIGTERM"


def test_a_stop_command_that_cannot_be_executed_is_told_and_passed_over(daemon):
    plan = {"steps": [[["/nonexistent/tool"], 60.0], ["SIGTERM", 5.0]]}
    daemon.request(spawn_message("a-1", "sleep", "100", stop=plan))
    daemon.request({"type": "stop", "run": "a-1"})
    assert daemon.event("command_failed", run="a-1")["text"] == "exec: No such file or directory"
    daemon.event("gone", run="a-1")


def test_a_stop_command_that_hangs_is_ended_with_the_run(daemon, tmp_path):
    hang = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    plan = {"steps": [[["sh", "-c", hang], 0.3], ["SIGTERM", 0.3]]}
    daemon.request(spawn_message("a-1", "sleep", "100", stop=plan))
    daemon.request({"type": "stop", "run": "a-1"})
    command = pid_in(tmp_path / "pid")
    assert daemon.event("exit", run="a-1")["signal"] == "SIGTERM"
    daemon.event("gone", run="a-1")
    assert not is_alive(command)


def test_a_command_in_a_plan_that_came_later_is_passed_over(keeper, daemon):
    daemon.request(spawn_message("a-1", "sleep", "100", stop=SOON))
    plan = {"steps": [[["true"], 60.0], ["SIGTERM", 5.0]]}
    assert daemon.request({"type": "stop", "run": "a-1", "plan": plan})["type"] == "ok"
    daemon.event("gone", run="a-1")
    keeper.says("its stop command is newer than the run")


def test_what_follows_a_run_comes_when_nothing_of_it_is_left_and_before_it_is_gone(daemon, tmp_path):
    after = [
        sh(f"echo code=$ORCHESTRA_EXIT_CODE signal=$ORCHESTRA_EXIT_SIGNAL >> {tmp_path}/told"),
        sh(f"while ! [ -e {tmp_path}/go ]; do sleep 0.01; done; echo last >> {tmp_path}/told"),
    ]
    daemon.request(spawn_message("a-1", "sh", "-c", "exit 6", after=after))
    assert daemon.event("exit", run="a-1")["code"] == 6
    wait_until(lambda: "code=6 signal=" in text_in(tmp_path / "told"), "the first has run")
    busy = daemon.request(spawn_message("a-2", "sleep", "100", slot="a"))
    assert busy["code"] == "slot_busy"
    (tmp_path / "go").touch()
    daemon.event("gone", run="a-1")
    assert text_in(tmp_path / "told") == "code=6 signal=\nlast\n"


def test_what_follows_a_run_is_run_after_a_kill_too_and_only_when_its_strays_are_gone(daemon, tmp_path):
    stray = f"(setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.02; done' &)"
    check = sh(
        f"kill -0 $(cat {tmp_path}/pid) && echo there > {tmp_path}/told || echo none > {tmp_path}/told"
    )
    daemon.request(spawn_message("a-1", "sh", "-c", f"{stray}; exec sleep 100", stop=SOON, after=[check]))
    pid_in(tmp_path / "pid")
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")
    assert text_in(tmp_path / "told") == "none\n"


def test_what_follows_a_run_is_bounded_and_leaves_nothing(daemon, tmp_path):
    hang = sh(f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 100' & exec sleep 100", 0.3)
    wait = f"while ! [ -s {tmp_path}/other ]; do sleep 0.01; done"
    leave = sh(f"setsid sh -c 'echo $$ > {tmp_path}/other; exec sleep 100' & {wait}")
    daemon.request(spawn_message("a-1", "true", after=[hang, leave]))
    told = daemon.event("command_failed", run="a-1")
    assert (told["command"], told["text"]) == ("post_stop", "took longer than 0.3 s and was killed")
    daemon.event("gone", run="a-1")
    assert not is_alive(pid_in(tmp_path / "pid"))
    assert not is_alive(pid_in(tmp_path / "other"))


def test_the_next_daemon_is_told_that_a_run_is_over_but_not_gone(keeper, daemon, tmp_path):
    after = [sh(f"while ! [ -e {tmp_path}/go ]; do sleep 0.01; done")]
    daemon.request(spawn_message("a-1", "true", after=after))
    daemon.event("exit", run="a-1")
    daemon.kill()
    successor = keeper.daemon()
    _, snapshot = successor.hello()
    assert [(m["run"], m["phase"]) for m in snapshot] == [("a-1", "exited")]
    (tmp_path / "go").touch()
    successor.event("gone", run="a-1")


def test_a_keeper_that_goes_down_by_itself_lets_the_last_commands_run(tmp_path):
    with Keeper(tmp_path, patience=0.1) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        plan = {"steps": [[["sh", "-c", f"echo stop >> {tmp_path}/told; kill $MAINPID"], 5.0]]}
        after = [sh(f"echo after >> {tmp_path}/told")]
        daemon.request(spawn_message("a-1", "sleep", "100", stop=plan, after=after))
        keeper.signal(signal.SIGTERM)  # the daemon does not answer
        logger.event("quit")
        logger.kill()
        daemon.kill()
        assert keeper.wait() == 0
    assert text_in(tmp_path / "told") == "stop\nafter\n"


def test_a_keeper_in_a_hurry_does_not_wait_for_a_last_command_that_hangs(tmp_path):
    with Keeper(tmp_path) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        after = [sh(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done", 100.0)]
        daemon.request(spawn_message("a-1", "true", after=after))
        command = pid_in(tmp_path / "pid")
        keeper.signal(signal.SIGTERM)
        daemon.event("shutdown", hurry=False)
        keeper.signal(signal.SIGTERM)
        logger.event("quit")
        logger.kill()
        daemon.kill()
        assert keeper.wait() == 0
        assert not is_alive(command)


def test_nothing_of_the_waiting_is_left_in_the_program(daemon, tmp_path):
    out = tmp_path / "told"
    spawned = daemon.request(
        spawn_message("a-1", "sh", "-c", f"ls /proc/self/fd > {out}; exec sleep 100", before=[sh("true")])
    )
    wait_until(lambda: text_in(out).count("\n") >= 4, "the descriptors are listed")
    assert text_in(out).split() == ["0", "1", "2", "3"]  # the last is the directory itself
    status = Path(f"/proc/{spawned['pid']}/status")
    wait_until(lambda: text_in(status).startswith("Name:\tsleep"), "the shell is through")
    assert "SigBlk:\t0000000000000000" in text_in(status)


def test_a_stop_command_of_scope_leader_is_not_cut_short_by_the_end_that_it_brings(daemon, tmp_path):
    go, done = tmp_path / "go", tmp_path / "done"
    script = f"kill $MAINPID; while ! [ -e {go} ]; do sleep 0.01; done; echo cleaned > {done}"
    plan = {"steps": [[["sh", "-c", script], 600.0], ["SIGTERM", 600.0]], "scope": "leader"}
    leader = f"sleep 100 & echo $! > {tmp_path}/pid; exec sleep 100"
    daemon.request(spawn_message("a-1", "sh", "-c", leader, stop=plan))
    stray = pid_in(tmp_path / "pid")
    daemon.request({"type": "stop", "run": "a-1"})
    assert stray in daemon.event("exit", run="a-1")["remaining"]
    go.touch()
    daemon.event("gone", run="a-1")
    assert done.read_text(encoding="utf-8") == "cleaned\n"
