"""Daemon and logger: replaced when they fail, listened to with suspicion, never missed by a service."""

import os
import select
import signal
import socket
import struct
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra_supervisor.wire.frames import VERSION, encode_frame
from tests.process.keeper_driver import DEADLINE, Keeper, is_alive, spawn_message, start_ticks, wait_until

LOG = {"path": "logs/a.log", "options": {"max_bytes": 1000}, "secrets": ["s"]}


def test_hello_comes_first_and_a_wrong_version_is_refused(keeper):
    daemon = keeper.daemon()
    assert daemon.request({"type": "ping"})["code"] == "bad_message"
    assert daemon.request(spawn_message("a-1", "true"))["code"] == "bad_message"
    assert daemon.request({"type": "hello", "version": VERSION + 1, "pid": 1})["code"] == "bad_message"
    welcome, snapshot = daemon.hello()
    assert (welcome["version"], welcome["daemon_starts"], snapshot) == (VERSION, 1, [])
    assert is_alive(welcome["logger_pid"])


def test_an_unknown_message_is_answered_only_when_it_asks(daemon):
    assert daemon.request({"type": "dance"})["code"] == "unknown_type"
    daemon.send({"type": "dance"})
    daemon.sync()
    assert daemon.inbox == []


def test_the_logger_gets_both_pipes_and_a_new_one_gets_them_again(keeper, daemon):
    logger = keeper.logger()
    script = "echo one; echo two >&2; exec sleep 100"
    daemon.request(spawn_message("a-1", "sh", "-c", script, log=LOG))
    opened = [logger.expect(lambda m: m["type"] == "open", "a pipe") for _ in range(2)]
    assert {m["stream"] for m, _ in opened} == {"stdout", "stderr"}
    assert opened[0][0] == {"type": "open", "run": "a-1", "slot": "a", "stream": "stdout", **LOG}
    assert select.select([opened[0][1][0]], [], [], DEADLINE)[0]
    assert os.read(opened[0][1][0], 2) == b"on"
    for _, fds in opened:
        os.close(fds[0])
    logger.kill()
    second = keeper.logger()
    again = {
        m["stream"]: fds[0] for m, fds in (second.expect(lambda m: m["type"] == "open", "a") for _ in "12")
    }
    assert select.select([again["stdout"]], [], [], DEADLINE)[0]
    assert os.read(again["stdout"], 100) == b"e\n", "what the first had not read is still there"
    assert daemon.event("role", event="exited")["role"] == "logger"
    assert daemon.event("role", event="started")["pid"] == second.pid
    os.close(again["stdout"])
    os.close(again["stderr"])


def test_the_pipes_of_runs_that_start_together_are_handed_over_together(keeper, daemon):
    logger = keeper.logger()
    for number in range(20):
        daemon.send(spawn_message(f"a{number}-1", "sleep", "100", slot=f"a{number}", log=LOG))
    runs = {logger.event("open", stream=stream)["run"] for stream in ["stdout", "stderr"] * 20}
    assert len(runs) == 20
    assert logger.frames <= 20, "each would be told of by itself"
    other = spawn_message("b-1", "sleep", "100", slot="b", log={**LOG, "options": {"format": "json"}})
    secret = spawn_message("c-1", "sleep", "100", slot="c", log={**LOG, "secrets": ["hush"]})
    for message in (other, secret):
        daemon.send(message)
    for run, key, value in (("b-1", "options", {"format": "json"}), ("c-1", "secrets", ["hush"])):
        for stream in ("stdout", "stderr"):
            assert logger.event("open", run=run, stream=stream)[key] == value
    assert all(message["type"] != "open" for message, _ in logger.inbox)


def test_after_eof_the_keeper_lets_go_of_the_pipe(keeper, daemon, logger):
    daemon.request(spawn_message("a-1", "echo", "x", log=LOG))
    daemon.event("gone")
    logger.send({"type": "eof", "run": "a-1", "stream": "stdout"})
    logger.send({"type": "eof", "run": "a-1", "stream": "nonsense"})
    logger.send({"type": "eof"})
    logger.send({"type": "event", "kind": "dropped", "path": "p", "bytes": 5})
    assert daemon.event("logger")["bytes"] == 5, "handled in order, so eof was handled too"
    logger.kill()
    second = keeper.logger()
    second.event("open", stream="stderr")
    daemon.event("role", event="started")
    daemon.request(spawn_message("b-1", "true", log=LOG))
    assert second.event("open")["run"] == "b-1", "stdout of a was not handed over again"


def test_a_service_that_writes_while_no_logger_reads_is_not_blocked_for_a_megabyte(daemon):
    daemon.request(spawn_message("a-1", "sh", "-c", "head -c 900000 /dev/zero; exit 3", log=LOG))
    assert daemon.event("exit", run="a-1")["code"] == 3


def test_log_config_is_passed_on_and_holds_for_the_next_logger(keeper, daemon, logger):
    daemon.request(spawn_message("a-1", "sleep", "100", log=LOG))
    daemon.send({"type": "log_config", "path": LOG["path"], "options": {"whatever": [7]}})
    changed = {"path": LOG["path"], "options": {"whatever": [7]}}
    assert logger.event("log_config") == {"type": "log_config", **changed}
    logger.kill()
    opening = keeper.logger().event("open", stream="stdout")
    assert (opening["options"], opening["secrets"]) == ({"whatever": [7]}, ["s"])
    assert daemon.request({"type": "log_config", "path": 5})["code"] == "bad_message"


def test_killing_daemon_and_logger_again_and_again_leaves_the_services_alone(keeper, daemon):
    pids = [daemon.request(spawn_message(f"s{n}-1", "sleep", "100", log=LOG))["pid"] for n in range(5)]
    ticks = [start_ticks(pid) for pid in pids]
    daemon.kill()
    keeper.logger().kill()
    for _ in range(3):
        keeper.greeted_daemon().kill()
        keeper.logger().kill()
    _, snapshot = keeper.daemon().hello()
    assert [m["pid"] for m in snapshot if m["type"] == "run"] == pids
    assert [start_ticks(pid) for pid in pids] == ticks
    assert [m["start_ticks"] for m in snapshot if m["type"] == "run"] == ticks


def test_daemon_dies_with_the_keeper_and_the_logger_does_not(tmp_path):
    with Keeper(tmp_path) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        service = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
        try:
            keeper.process.kill()
            keeper.wait()
            wait_until(lambda: not is_alive(daemon.pid), "the kernel ends the daemon")
            assert logger.is_closed(), "the logger hears that the keeper is gone"
            assert is_alive(logger.pid)
            assert is_alive(service)
        finally:
            os.kill(service, signal.SIGKILL)


def test_restarts_come_at_once_then_later_and_a_broken_daemon_is_named_once(tmp_path):
    starts = tmp_path / "starts"
    script = f"cut -d' ' -f1 /proc/uptime >> {starts}; exit 3"
    with Keeper(tmp_path, daemon=["sh", "-c", script]) as keeper:
        keeper.says("the daemon failed 5 times in a row (exit code 3)")
        times = [float(line) for line in starts.read_text(encoding="utf-8").split()]
        gaps = [round(b - a, 2) for a, b in pairwise(times)]
        assert len(gaps) == 4
        assert gaps[0] < 0.1
        assert gaps[1] >= 0.09
        assert gaps[2] >= 0.19
        assert gaps[3] >= 0.39
        for number, count in ((signal.SIGUSR2, 6), (signal.SIGHUP, 7)):
            keeper.signal(number)
            wait_until(
                lambda count=count: len(starts.read_text(encoding="utf-8").split()) >= count,
                "it is tried again at once",
            )
        assert keeper.stderr().count("5 times in a row") == 1


def test_a_command_that_is_not_there_is_named(tmp_path):
    with Keeper(tmp_path, logger=["/no/such/logger"], daemon=["no-such-daemon"]) as keeper:
        keeper.says("cannot run /no/such/logger: No such file or directory")
        keeper.says("cannot run no-such-daemon")
        keeper.says("the daemon failed 5 times in a row (exit code 127)")
        keeper.says("the logger failed 5 times in a row (exit code 127)")


@pytest.mark.parametrize(
    "poison",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">IBBH", 2**31, VERSION, 0, 0),
        struct.pack(">IBBH", 2, 9, 0, 0) + b"{}",
        encode_frame({"type": "x"}).replace(b'"type"', b'"tipe"'),
        encode_frame({"type": "open"}, fds=1),
    ],
)
def test_a_daemon_that_breaks_the_protocol_is_killed_and_replaced(keeper, daemon, poison):
    pid = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
    daemon.channel._sock.sendall(poison)
    wait_until(lambda: not is_alive(daemon.pid), "the daemon is killed")
    _, snapshot = keeper.daemon().hello()
    assert [(m["run"], m["pid"]) for m in snapshot] == [("a-1", pid)]
    keeper.says("it is replaced")


def test_a_daemon_that_closes_its_socket_but_lives_on_is_replaced(keeper, daemon):
    daemon.channel._sock.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: not is_alive(daemon.pid), "the daemon is killed")
    assert keeper.daemon().hello()[0]["daemon_starts"] == 2


@pytest.mark.slow
def test_a_daemon_that_does_not_read_is_replaced_when_the_queue_is_full(keeper, daemon):
    daemon.send({"type": "note", "slot": "big", "note": "x" * 4_000_000})
    daemon.sync()
    for number in range(20):
        daemon.channel.send({"type": "hello", "version": VERSION, "id": number})
    wait_until(lambda: not is_alive(daemon.pid), "the daemon is killed")
    keeper.says("does not read")
    assert len(keeper.daemon().hello()[1]) == 1


def test_descriptors_sent_to_the_keeper_are_closed(keeper, daemon):
    count = len(list(Path(f"/proc/{keeper.pid}/fd").iterdir()))
    for _ in range(10):
        daemon.channel.send({"type": "note", "slot": "a", "note": 1}, [0, 1, 2])
    daemon.sync()
    assert len(list(Path(f"/proc/{keeper.pid}/fd").iterdir())) == count


def test_reload_and_replace_reach_the_daemon_and_the_next_one_starts_at_once(keeper, daemon):
    keeper.signal(signal.SIGHUP)
    daemon.event("reload")
    keeper.signal(signal.SIGUSR2)
    daemon.event("replace")
    ended = time.monotonic()
    daemon.close()
    second = keeper.daemon()
    assert time.monotonic() - ended < 1.0
    assert second.hello()[0]["daemon_starts"] == 2


def test_a_reload_that_comes_before_hello_is_not_lost(keeper):
    daemon = keeper.daemon()
    keeper.signal(signal.SIGHUP)
    wait_until(lambda: _signals_pending(keeper.pid) == 0, "the signal is delivered")
    daemon.hello()
    daemon.event("reload")


def test_a_daemon_that_ignores_replace_is_killed(tmp_path):
    with Keeper(tmp_path, patience=0.1) as keeper:
        daemon = keeper.greeted_daemon()
        started = time.monotonic()
        keeper.signal(signal.SIGUSR2)
        daemon.event("replace")
        second = keeper.daemon()
        assert time.monotonic() - started > 0.4
        assert not is_alive(daemon.pid)
        assert second.hello()[0]["daemon_starts"] == 2
        keeper.says("did not make room")


def _signals_pending(pid: int) -> int:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    )
    return int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)


words = st.sampled_from(
    ["spawn", "stop", "signal", "input", "ack", "note", "log_config", "hello", "ping", "open", "eof", "x"]
)
KEYS = """run slot argv env cwd umask user group groups rlimits nice oom_score_adj log stop stop_order note
plan signal scope path options secrets version pid id re stdin data"""
keys = st.sampled_from(KEYS.split())
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a", "a-1", "true", "SIGTERM", "tree", "steps", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
odd_messages = st.builds(
    lambda kind, rest: {**rest, "type": kind}, words, st.dictionaries(keys, values, max_size=6)
)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(odd_messages, min_size=1, max_size=8), st.data())
def test_no_message_whatever_is_in_it_ends_the_keeper(keeper, daemon, odd, data):
    base = spawn_message("a-1", "true") if data.draw(st.booleans()) else {}
    for message in odd:
        daemon.send({**base, **message})
    daemon.sync()
    daemon.inbox.clear()
    assert keeper.process.poll() is None
