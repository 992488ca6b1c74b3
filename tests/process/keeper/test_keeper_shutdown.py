"""Going down: with a daemon, without one, in a hurry, and as PID 1."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.process.keeper_driver import Keeper, is_alive, spawn_message, wait_until

LOG = {"path": "logs/a.log", "options": {"max_bytes": 1000}, "secrets": ["s"]}
STUBBORN = "trap '' TERM INT; echo up > $UP; while :; do sleep 1; done"


def env(**extra: object) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **{name: str(value) for name, value in extra.items()}}


def finish(logger) -> None:
    """Play the logger's end: everything is written, so it goes."""
    logger.event("quit")
    logger.kill()


def test_quit_after_an_orderly_stop_ends_everything_with_status_zero(keeper, daemon, logger):
    daemon.request(spawn_message("a-1", "sleep", "100"))
    keeper.signal(signal.SIGTERM)
    assert daemon.event("shutdown")["hurry"] is False
    assert daemon.request(spawn_message("b-1", "true"))["code"] == "shutting_down"
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")
    daemon.send({"type": "quit"})
    logger.event("quit")
    assert keeper.process.poll() is None, "the logger may finish first"
    logger.kill()
    assert daemon.is_closed()
    assert is_alive(daemon.pid), "the daemon may clean up"
    daemon.kill()
    assert keeper.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_other_signals_mean_the_same(keeper, daemon, number):
    keeper.signal(number)
    assert daemon.event("shutdown")["hurry"] is False


def test_quit_with_runs_still_there_stops_them_first(keeper, daemon, logger):
    pid = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
    daemon.send({"type": "quit"})
    daemon.event("gone", run="a-1")
    finish(logger)
    daemon.kill()
    assert keeper.wait() == 0
    assert not is_alive(pid)


def test_a_daemon_that_dies_on_the_way_down_is_replaced_and_the_next_one_knows(keeper, daemon):
    daemon.request(spawn_message("a-1", "sleep", "100"))
    daemon.send({"type": "shutdown"})
    daemon.sync()
    daemon.kill()
    second = keeper.daemon()
    assert second.hello()[0]["shutdown"] is True
    assert second.request(spawn_message("b-1", "true"))["code"] == "shutting_down"


def test_daemons_that_keep_dying_on_the_way_down_are_not_waited_for(keeper, daemon, logger):
    daemon.request(spawn_message("a-1", "sleep", "100"))
    keeper.signal(signal.SIGTERM)
    daemon.event("shutdown")
    daemon.kill()
    for _ in range(2):
        keeper.greeted_daemon().kill()
    finish(logger)
    assert keeper.wait() == 0
    keeper.says("the keeper stops 1 runs itself")


def test_without_a_daemon_the_keeper_stops_wave_by_wave_highest_first(tmp_path):
    gate = 'if [ -e "$0/broken" ]; then exit 1; fi; exec "$@"'
    with Keeper(tmp_path, daemon_prefix=["sh", "-c", gate, str(tmp_path)]) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        order = tmp_path / "order"
        for name, rank in (("db", -5), ("app", 10), ("web", 10), ("cache", 0)):
            script = f"trap 'echo {name} >> {order}; sleep 0.1; echo {name}-end >> {order}; exit' TERM"
            script += "; echo up > $UP; while :; do sleep 0.01; done"
            up = tmp_path / name
            daemon.request(spawn_message(f"{name}-1", "sh", "-c", script, env=env(UP=up), stop_order=rank))
            wait_until(up.exists, f"{name} is up")
        (tmp_path / "broken").touch()
        daemon.kill()
        keeper.says("failed 5 times in a row")
        assert not order.exists(), "services are kept while there is no daemon"
        keeper.signal(signal.SIGTERM)
        finish(logger)
        assert keeper.wait() == 0
        lines = order.read_text(encoding="utf-8").split()
        assert set(lines[:4]) == {"app", "app-end", "web", "web-end"}
        assert lines[4:] == ["cache", "cache-end", "db", "db-end"]


def test_a_second_sigterm_cuts_every_wait_to_a_second(keeper, daemon, logger, tmp_path):
    plan = {"steps": [["SIGTERM", 600.0], ["SIGINT", 600.0]]}
    pids = []
    for number in range(3):
        up = tmp_path / f"up{number}"
        spawned = daemon.request(
            spawn_message(f"s{number}-1", "sh", "-c", STUBBORN, env=env(UP=up), stop=plan, stop_order=number)
        )
        pids.append(spawned["pid"])
        wait_until(up.exists, "it ignores SIGTERM")
    keeper.signal(signal.SIGTERM)
    assert daemon.event("shutdown")["hurry"] is False
    daemon.request({"type": "stop", "run": "s2-1"})
    keeper.signal(signal.SIGTERM)
    assert daemon.event("shutdown")["hurry"] is True
    started = time.monotonic()
    daemon.request({"type": "stop", "run": "s2-1"})  # must not slow it down again
    for number in range(3):
        daemon.event("gone", run=f"s{number}-1")
    assert 0.8 < time.monotonic() - started < 2.5
    finish(logger)
    daemon.kill()
    assert keeper.wait() == 0
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_frozen_daemon_does_not_keep_the_fleet_up(tmp_path):
    with Keeper(tmp_path, patience=0.1) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        pid = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
        os.kill(daemon.pid, signal.SIGSTOP)
        keeper.signal(signal.SIGTERM)
        finish(logger)
        assert keeper.wait() == 0
        keeper.says("the daemon does not answer; the keeper stops 1 runs itself")
        assert not is_alive(pid)
        wait_until(lambda: not is_alive(daemon.pid), "the frozen daemon is gone too")


def test_a_logger_that_does_not_end_is_not_waited_for(tmp_path):
    with Keeper(tmp_path, patience=0.05) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        daemon.send({"type": "quit"})
        logger.event("quit")
        daemon.kill()
        assert keeper.wait() == 0
        assert is_alive(logger.pid), "it is never killed: it may still be writing"


@pytest.mark.parametrize("status", [0, 3])
def test_the_keeper_ends_with_the_status_that_the_daemon_gave(keeper, daemon, logger, status):
    assert daemon.request({"type": "quit", "status": 300})["code"] == "bad_message"
    daemon.send({"type": "quit", "status": status})
    finish(logger)
    daemon.kill()
    assert keeper.wait() == status


def test_a_logger_that_is_away_is_started_to_write_what_is_left(tmp_path):
    gate = 'if [ -e "$0/away" ]; then exit 1; fi; exec "$@"'
    with Keeper(tmp_path, logger_prefix=["sh", "-c", gate, str(tmp_path)]) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        (tmp_path / "away").touch()
        logger.kill()
        daemon.request(spawn_message("a-1", "echo", "last words", log=LOG))
        daemon.event("gone", run="a-1")
        keeper.says("the logger failed 5 times")
        (tmp_path / "away").unlink()
        daemon.send({"type": "quit"})
        second = keeper.logger()
        _, fds = second.expect(lambda m: m["type"] == "open" and m["stream"] == "stdout", "the pipe")
        assert os.read(fds[0], 100) == b"last words\n"
        os.close(fds[0])
        finish(second)
        daemon.kill()
        assert keeper.wait() == 0


def _can_unshare() -> bool:
    words = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(words, check=False, capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not _can_unshare(), reason="this user may not make a pid namespace")
def test_as_pid_one_it_reaps_everything_and_stops_on_sigterm(tmp_path):
    prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    orphans = '(setsid sh -c "sleep 0.1 & sleep 0.2 & exec sleep 0.3" &); exec "$@"'
    with Keeper(tmp_path, prefix=prefix, daemon_prefix=["sh", "-c", orphans, "sh"]) as keeper:
        daemon, logger = keeper.daemon(), keeper.logger()
        assert daemon.hello()[0]["keeper_pid"] == 1
        (first,) = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text(encoding="utf-8").split()
        children = Path(f"/proc/{first}/task/{first}/children")
        ours = {str(daemon.pid), str(logger.pid)}
        wait_until(
            lambda: set(children.read_text(encoding="utf-8").split()) == ours, "orphans of nobody are reaped"
        )
        daemon.request(spawn_message("a-1", "sh", "-c", "(setsid sleep 100 &); exit 3"))
        assert daemon.event("exit", run="a-1")["code"] == 3
        daemon.request({"type": "stop", "run": "a-1"})
        daemon.event("gone", run="a-1")
        os.kill(int(first), signal.SIGTERM)
        daemon.event("shutdown")
        daemon.send({"type": "quit"})
        finish(logger)
        daemon.kill()
        assert keeper.wait() == 0
