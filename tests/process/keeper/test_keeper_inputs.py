"""Inputs: the stdin of a run as a pipe that stays open, and what the daemon writes into it."""

import os
import sys
from pathlib import Path

from tests.process.keeper_driver import Peer, is_alive, spawn_message, wait_until

MIB = 1024 * 1024


def write(daemon: Peer, run: str, data: object) -> object:
    answer = daemon.request({"type": "input", "run": run, "data": data})
    return answer.get("code", answer["type"])


def reader(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", f"import os, sys\n{script}"]


def test_what_is_written_is_read_by_the_run_and_no_end_comes_before_the_runs_own(daemon, tmp_path):
    script = f'read a; read b; echo "$a-$b" > {tmp_path}/got; read c; echo end >> {tmp_path}/got'
    pid = daemon.request(spawn_message("a-1", "sh", "-c", script, stdin=True))["pid"]
    assert write(daemon, "a-1", "on") == "ok"
    assert write(daemon, "a-1", "e\ntwo ") == "ok"
    assert write(daemon, "a-1", "ü\n") == "ok"
    got = tmp_path / "got"
    wait_until(lambda: got.exists() and got.read_text(encoding="utf-8") == "one-two ü\n", "it has read two")
    assert is_alive(pid), "it waits for a third"


def test_without_being_asked_for_there_is_no_input(daemon):
    daemon.request(spawn_message("a-1", "sh", "-c", "cat; exec sleep 100"))
    assert write(daemon, "a-1", "x\n") == "no_input"
    assert write(daemon, "b-1", "x\n") == "no_such_run"


def test_the_output_of_a_run_with_an_input_is_logged_as_ever(daemon, logger):
    order = spawn_message("a-1", *reader("print(input())"), stdin=True, log={"path": "x"})
    daemon.request(order)
    assert write(daemon, "a-1", "hello\n") == "ok"
    message, fds = logger.expect(lambda m: m["type"] == "open" and m["stream"] == "stdout", "stdout")
    assert message["run"] == "a-1"
    os.set_blocking(fds[0], True)
    assert os.read(fds[0], 100) == b"hello\n"


def test_first_and_last_commands_do_not_get_the_input(daemon, tmp_path):
    look = {"argv": ["sh", "-c", f"readlink /proc/self/fd/0 >> {tmp_path}/told"], "timeout": 10}
    script = f"readlink /proc/self/fd/0 >> {tmp_path}/told"
    daemon.request(spawn_message("a-1", "sh", "-c", script, stdin=True, before=[look], after=[look]))
    daemon.event("gone", run="a-1")
    first, own, last = (tmp_path / "told").read_text(encoding="utf-8").splitlines()
    assert (first, last) == ("/dev/null", "/dev/null")
    assert own.startswith("pipe:")


def test_a_run_that_has_closed_its_input_or_has_ended_has_none(daemon, tmp_path):
    script = f"os.close(0); open({str(tmp_path / 'closed')!r}, 'w').close()\nimport time; time.sleep(100)"
    daemon.request(spawn_message("a-1", *reader(script), stdin=True))
    wait_until((tmp_path / "closed").exists, "it has closed it")
    assert write(daemon, "a-1", "x") == "no_input"
    assert write(daemon, "a-1", "x") == "no_input"
    daemon.request(spawn_message("b-1", "sh", "-c", "sleep 100 & exit 0", stdin=True))
    daemon.event("exit", run="b-1")
    assert write(daemon, "b-1", "x") == "no_input"


def test_what_a_run_does_not_read_waits_within_a_bound_and_then_comes_in_order(daemon, tmp_path):
    script = f"""
import time
while not os.path.exists({str(tmp_path / "go")!r}):
    time.sleep(0.01)
data = b""
while not data.endswith(b"z"):
    data += os.read(0, 1 << 20)
with open({str(tmp_path / "got")!r}, "w") as got:
    got.write(f"{{len(data)}} {{data.count(b'a')}} {{data.lstrip(b'a').count(b'b')}}\\n")
"""
    daemon.request(spawn_message("a-1", *reader(script), stdin=True))
    assert write(daemon, "a-1", "a" * MIB) == "ok"
    assert write(daemon, "a-1", "b" * MIB) == "input_full"
    assert write(daemon, "a-1", "b" * 1000) == "ok"
    (tmp_path / "go").touch()
    wait_until(lambda: write(daemon, "a-1", "z") == "ok", "there is room again")
    daemon.event("gone", run="a-1")
    assert (tmp_path / "got").read_text(encoding="utf-8") == f"{MIB + 1001} {MIB} 1000\n"


def test_a_run_that_ends_before_it_has_read_all_harms_nobody(keeper, daemon):
    daemon.request(spawn_message("a-1", "sleep", "100", stdin=True))
    assert write(daemon, "a-1", "a" * MIB) == "ok"
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")
    assert write(daemon, "a-1", "x") == "no_such_run"
    assert daemon.request({"type": "ping"})["type"] == "pong"


def test_an_input_that_makes_no_sense_is_refused(daemon):
    daemon.request(spawn_message("a-1", "sleep", "100", stdin=True))
    for wrong in (None, 5, ["x"], "x" * (MIB + 1)):
        assert write(daemon, "a-1", wrong) == "bad_message"
    assert daemon.request(spawn_message("b-1", "true", stdin="yes"))["code"] == "bad_message"


def test_no_descriptor_is_left_of_runs_with_inputs(keeper, daemon):
    def count() -> int:
        return len(list(Path(f"/proc/{keeper.pid}/fd").iterdir()))

    daemon.request(spawn_message("a-0", "true", stdin=True))
    daemon.event("gone", run="a-0")
    before = count()
    for number in range(1, 6):
        daemon.request(spawn_message(f"a-{number}", "true", stdin=True))
        daemon.event("gone", run=f"a-{number}")
        assert daemon.request(spawn_message(f"b-{number}", "/no/such", stdin=True))["type"] == "spawn_failed"
    daemon.sync()
    assert count() == before
