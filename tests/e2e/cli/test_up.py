"""`up` and `down` without a terminal, with a keeper that plays scenarios."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from orchestra_supervisor.cli.holder import keeper_pid_of
from tests.e2e.cli.conftest import Bench, eventually
from tests.e2e.cli.runner import argv, environment, orchestra

READY = {"path": [[0, "waiting"], [0.1, "starting"], [0.2, "ready"]], "url": "http://127.0.0.1:8010"}


def test_detached_returns_with_the_table_when_all_is_ready(bench: Bench) -> None:
    bench.play({"web": READY, "setup": {"path": [[0, "starting"], [0.15, "completed"]]}})
    done = orchestra("up", "--detach", cwd=bench.path, **bench.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 ready of 2" in done.stdout
    assert "http://127.0.0.1:8010" in done.stdout
    record = bench.record()
    assert record["sid"] == record["pid"], "the keeper has a session of its own"
    assert record["home"] == str(bench.home)
    assert (bench.home / "lock").read_text(encoding="utf-8").split()[0] == str(record["pid"])
    assert bench.home.stat().st_mode & 0o777 == 0o700
    assert "fake keeper started" in (bench.home / "supervisor.log").read_text(encoding="utf-8")
    again = orchestra("up", cwd=bench.path, **bench.env)
    assert again.returncode == 8
    assert f"its keeper is pid {record['pid']}" in again.stderr
    assert "hint: `orchestra status`" in again.stderr
    down = orchestra("down", cwd=bench.path, **bench.env)
    assert down.returncode == 0
    assert "all stopped in" in down.stderr
    assert keeper_pid_of(bench.home) is None


def test_down_where_nothing_runs_has_nothing_to_do(tmp_path: Path) -> None:
    done = orchestra("down", "--home", "h", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"no fleet runs on {tmp_path}/h: nothing to stop\n"


def test_down_tells_the_keeper_itself_where_no_daemon_answers(bench: Bench) -> None:
    bench.play({"web": READY})
    assert orchestra("up", "--detach", cwd=bench.path, **bench.env).returncode == 0
    (bench.home / "control.sock").unlink()
    done = orchestra("down", cwd=bench.path, **bench.env)
    assert done.returncode == 0
    assert "the daemon does not answer: telling the keeper" in done.stderr


def test_down_says_what_is_left_when_its_time_is_up(bench: Bench) -> None:
    bench.play({"web": READY}, stop_takes=5)
    assert orchestra("up", "--detach", cwd=bench.path, **bench.env).returncode == 0
    done = orchestra("down", "--timeout", "0.3", cwd=bench.path, **bench.env)
    assert done.returncode == 7
    assert "still there: web" in done.stderr


def test_detached_with_a_failed_service_is_1_with_the_reason(bench: Bench) -> None:
    bench.play({"web": READY, "db": {"path": [[0, "starting"], [0.1, "failed", "exit code 3"]]}})
    done = orchestra("up", "--detach", cwd=bench.path, **bench.env)
    assert done.returncode == 1
    assert "db is failed (exit code 3)" in done.stderr
    assert "hint: the fleet runs on; `orchestra logs db`" in done.stderr
    assert "✗ db" in done.stdout


def test_detached_judges_by_the_required_services_where_some_are(bench: Bench) -> None:
    bench.play({"web": READY | {"required": True}, "extra": {"path": [[0, "failed", "no luck"]]}})
    done = orchestra("up", "--detach", cwd=bench.path, **bench.env)
    assert done.returncode == 0
    assert done.stderr == "warning: extra is failed (no luck)\n"


def test_detached_gives_up_watching_after_its_timeout(bench: Bench) -> None:
    bench.play({"slow": {"path": [[0, "starting", "not listening yet"]]}})
    done = orchestra("up", "--detach", "--timeout", "1.5", cwd=bench.path, **bench.env)
    assert done.returncode == 1
    assert "not ready within 1.5 s: slow is starting (not listening yet)" in done.stderr
    assert bench.record()["pid"]


def test_a_daemon_that_never_answers_is_told_apart(bench: Bench) -> None:
    bench.play({"web": READY}, daemon_after=60)
    done = orchestra("up", "--detach", "--timeout", "0.4", cwd=bench.path, **bench.env)
    assert done.returncode == 1
    assert "its daemon did not answer within 0.4 s" in done.stderr


def test_a_keeper_that_ends_at_once_is_an_error_with_its_last_words(bench: Bench) -> None:
    bench.play({"web": READY}, exits_with=70)
    for words in (("up", "--detach"), ("up",)):
        done = orchestra(*words, cwd=bench.path, **bench.env)
        assert done.returncode == 1
        assert "ended unexpectedly: exit code 70" in done.stderr
        assert "fake keeper: cannot go on" in done.stderr + done.stdout
        assert "the next `orchestra up` deals with them" in done.stderr


def test_a_start_that_the_daemon_refuses_is_told_by_the_status_of_the_refusal(bench: Bench) -> None:
    bench.play({"web": READY}, exits_with=8)
    for words in (("up", "--detach"), ("up",)):
        done = orchestra(*words, cwd=bench.path, **bench.env)
        assert done.returncode == 8
        assert "the fleet was not started" in done.stderr
        assert "fake keeper: cannot go on" in done.stderr + done.stdout


def test_a_wrong_configuration_is_shown_and_starts_nothing(bench: Bench) -> None:
    (bench.path / "orchestra.json").write_text('{"broken": "no such key"}', encoding="utf-8")
    done = orchestra("up", "--detach", cwd=bench.path, **bench.env)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{bench.path}/orchestra.json:1: error: no such key\nnothing was started\n"
    assert not (bench.home / "fake.json").exists()
    bench.play({"web": READY})
    assert orchestra("up", "--detach", cwd=bench.path, **bench.env).returncode == 0, "the lock was given back"


def test_names_files_and_home_reach_the_keeper(bench: Bench) -> None:
    bench.play({"web": READY})
    (bench.path / "b.json").write_text("{}", encoding="utf-8")
    words = (
        "up",
        "-c",
        "orchestra.json",
        "-c",
        "b.json",
        "--only",
        "web,mcp_*",
        "--only",
        "x",
        "--home",
        "elsewhere",
    )
    bench.home = bench.path / "elsewhere"
    done = orchestra(*words, "--detach", cwd=bench.path, **bench.env)
    assert done.returncode == 0
    daemon = bench.record()["boot"]["daemon"]  # type: ignore[index]
    assert daemon[-6:] == [
        "-c",
        f"{bench.path}/orchestra.json",
        "-c",
        f"{bench.path}/b.json",
        "--only",
        "web,mcp_*,x",
    ]
    assert (bench.home / "lock").exists()


def test_exec_becomes_the_keeper_with_the_same_pid(bench: Bench) -> None:
    bench.play({"web": READY})
    with subprocess.Popen(
        argv("up", "--exec"),
        cwd=bench.path,
        env=environment(**bench.env),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as child:
        eventually((bench.home / "control.sock").exists)
        assert bench.record()["pid"] == child.pid
        assert orchestra("up", cwd=bench.path, **bench.env).returncode == 8
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=10)
    assert child.returncode == 0
    assert "fake keeper started" in said


def test_in_the_foreground_without_a_terminal_there_are_plain_lines(bench: Bench) -> None:
    bench.play(
        {"web": READY}, logs=[[0.05, "web", "stdout", "early"], [0.6, "web", "stderr", "late \x1b[2J"]]
    )
    with subprocess.Popen(
        argv("up"),
        cwd=bench.path,
        env=environment(**bench.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as child:
        assert child.stdout is not None
        lines: list[str] = []
        while not lines or "late" not in lines[-1]:
            lines.append(child.stdout.readline())
            assert lines[-1], lines
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
    text = "".join(lines) + out
    assert (child.returncode, err) == (0, "")
    assert "\x1b" not in text
    assert "\r" not in text
    assert [word for word in ("web is waiting", "web is starting", "web is ready") if word in text][2:]
    assert text.index("web is waiting") < text.index("1 ready of 1") < text.index("web       │ early")
    assert "web       ! late ^[[2J\n" in text
    assert text.index("stopping in order") < text.index("web is stopping") < text.index("all stopped in")


def test_a_second_signal_hurries_and_the_status_says_so(bench: Bench) -> None:
    bench.play({"web": READY}, stop_takes=30)
    with subprocess.Popen(
        argv("up"), cwd=bench.path, env=environment(**bench.env), stdout=subprocess.PIPE, encoding="utf-8"
    ) as child:
        assert child.stdout is not None
        while "1 ready of 1" not in child.stdout.readline():
            pass
        child.send_signal(signal.SIGTERM)
        while "stopping in order" not in child.stdout.readline():
            pass
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=10)
    assert child.returncode == 130


def test_a_killed_keeper_is_said_and_the_next_up_starts(bench: Bench) -> None:
    bench.play({"web": READY}, dies_after=0.5)
    done = orchestra("up", cwd=bench.path, **bench.env)
    assert done.returncode == 1
    assert "ended unexpectedly: killed by SIGKILL" in done.stderr
    assert "services may still run" in done.stderr
    bench.play({"web": READY})
    assert orchestra("up", "--detach", cwd=bench.path, **bench.env).returncode == 0


def test_a_stop_by_somebody_else_ends_the_foreground_with_0(bench: Bench) -> None:
    bench.play({"web": READY})
    with subprocess.Popen(
        argv("up"), cwd=bench.path, env=environment(**bench.env), stdout=subprocess.PIPE, encoding="utf-8"
    ) as child:
        assert child.stdout is not None
        while "1 ready of 1" not in child.stdout.readline():
            pass
        assert orchestra("down", cwd=bench.path, **bench.env).returncode == 0
        out, _ = child.communicate(timeout=10)
    assert child.returncode == 0
    assert "the fleet was stopped" in out


def test_no_configuration_is_an_error_that_names_what_was_looked_for(tmp_path: Path) -> None:
    done = orchestra("up", cwd=tmp_path)
    assert done.returncode == 2
    assert "orchestra_autostart.json" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_may_not_be_written_is_an_error(bench: Bench) -> None:
    bench.play({"web": READY})
    bench.path.chmod(0o500)
    try:
        done = orchestra("up", cwd=bench.path, **bench.env)
    finally:
        bench.path.chmod(0o700)
    assert done.returncode == 1
    assert "hint: name another with --home DIR" in done.stderr


def test_two_ups_at_once_start_one_fleet(bench: Bench) -> None:
    bench.play({"web": READY})
    children = [
        subprocess.Popen(
            argv("up", "--detach"),
            cwd=bench.path,
            env=environment(**bench.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for child in children:
        child.communicate(timeout=20)
    assert sorted(child.returncode for child in children) == [0, 8, 8, 8]
    assert json.loads((bench.home / "layout.json").read_text(encoding="utf-8"))["services"] == ["web"]


def test_nohup_is_respected(bench: Bench) -> None:
    bench.play({"web": READY})
    with subprocess.Popen(
        ["nohup", *argv("up")],
        cwd=bench.path,
        env=environment(**bench.env),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as child:
        assert child.stdout is not None
        while "1 ready of 1" not in child.stdout.readline():
            pass
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=10)
    assert child.returncode == 0, "a SIGHUP that counted would have made the SIGINT hurry"
    assert out.count("stopping in order") == 1


def test_a_home_that_cannot_grow_a_file_is_an_error_that_names_it(bench: Bench) -> None:
    bench.play({"web": READY})
    full = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    full += "os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [argv()[0], "-I", "-c", full, *argv("up")],
        cwd=bench.path,
        env=environment(**bench.env),
        capture_output=True,
        encoding="utf-8",
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == f"orchestra: error: cannot write {bench.home}/lock: File too large\n  hint: is the disk full?\n"
    )


def test_a_taken_port_is_told_at_the_start_with_its_owner_and_forbids_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        services = {"web": {"command": ["sleep", "100"], "port": port}}
        (tmp_path / "orchestra.json").write_text(json.dumps({"services": services}), encoding="utf-8")
        done = orchestra("check", "--for-up", cwd=tmp_path)
    assert done.returncode == 0
    assert str(port) in done.stdout
    assert f"pid {os.getpid()}" in done.stdout
    assert "hint:" in done.stdout


def test_a_fault_of_the_files_forbids_the_start_and_is_told_alone(tmp_path: Path) -> None:
    services = {"web": {"command": ["/nonexistent"], "port": 70000}}
    (tmp_path / "orchestra.json").write_text(json.dumps({"services": services}), encoding="utf-8")
    done = orchestra("check", "--for-up", cwd=tmp_path)
    assert done.returncode == 3
    assert "orchestra.json:1:" in done.stdout
    assert "/nonexistent" not in done.stdout
