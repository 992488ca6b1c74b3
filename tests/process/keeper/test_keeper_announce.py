"""What a service manager hears of the keeper, from its start to its end."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.keeper_driver import Keeper, Peer, spawn_message
from tests.process.service_manager import ServiceManager

SHORT = 0.02
"""Patience: a beat every 0.2 s in transitions, 0.2 s for an answer to a ping."""


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    with ServiceManager() as listening:
        yield listening


def status(daemon: Peer, state: str, text: str) -> None:
    daemon.send({"type": "status", "state": state, "text": text})


@pytest.mark.slow  # it starts and ends a keeper
@pytest.mark.parametrize("is_abstract", [True, False])
def test_a_manager_hears_of_start_reload_and_end(tmp_path: Path, *, is_abstract: bool) -> None:
    with (
        ServiceManager(None if is_abstract else tmp_path / "notify") as manager,
        Keeper(tmp_path, env=manager.environ()) as keeper,
    ):
        assert "daemon" in manager.expect(STATUS="the daemon is started")["STATUS"]
        daemon = keeper.daemon()
        welcome, _ = daemon.hello()
        assert welcome["manager"] is True
        status(daemon, "starting", "1 of 2 ready")
        manager.expect(STATUS="1 of 2 ready")
        status(daemon, "ready", "2 of 2 ready")
        ready = manager.expect(READY="1")
        assert ready == {"READY": "1", "MAINPID": str(keeper.pid), "STATUS": "2 of 2 ready"}
        status(daemon, "ready", "1 of 2 ready;\nfailed: x")
        assert manager.expect(STATUS="1 of 2 ready; failed: x") == {"STATUS": "1 of 2 ready; failed: x"}
        keeper.signal(signal.SIGHUP)
        daemon.event("reload")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        status(daemon, "reloading", "reading")
        assert int(manager.expect(RELOADING="1")["MONOTONIC_USEC"]) >= before
        status(daemon, "ready", "2 of 2 ready")
        manager.expect(READY="1")
        keeper.signal(signal.SIGTERM)
        manager.expect(STOPPING="1")
        status(daemon, "ready", "still here")
        assert "READY" not in manager.expect(STATUS="still here"), "there is no way back"
        daemon.send({"type": "quit", "status": 4})
        logger = keeper.logger()
        logger.event("quit")
        logger.kill()
        daemon.kill()
        assert keeper.wait() == 4
        manager.expect(EXIT_STATUS="4")
        assert manager.senders == {keeper.pid}


def test_a_daemon_without_a_manager_is_told_that_there_is_none(keeper: Keeper) -> None:
    daemon = keeper.daemon()
    welcome, _ = daemon.hello()
    assert welcome["manager"] is False
    status(daemon, "ready", "heard by nobody")
    daemon.sync()


def test_a_status_that_is_none_is_refused(daemon: Peer) -> None:
    for wrong in ({"state": "merry", "text": ""}, {"state": "ready"}, {"text": "x"}):
        assert daemon.request({"type": "status", **wrong})["code"] == "bad_message"


def test_neither_the_daemon_nor_a_service_can_speak_to_the_manager(
    tmp_path: Path, manager: ServiceManager
) -> None:
    env = manager.environ(watchdog=60.0) | {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
    names = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
    assert names <= env.keys()
    with Keeper(tmp_path, env=env) as keeper:
        daemon = keeper.greeted_daemon()
        inherited = Path(f"/proc/{daemon.pid}/environ").read_text(encoding="utf-8")
        assert not [name for name in names if f"{name}=" in inherited]


@pytest.mark.slow  # it waits for beats
def test_the_watchdog_is_fed_while_the_keeper_lives_whatever_becomes_of_the_daemon(
    tmp_path: Path, manager: ServiceManager
) -> None:
    with Keeper(tmp_path, env=manager.environ(watchdog=0.2)) as keeper:
        daemon = keeper.greeted_daemon()
        status(daemon, "ready", "1 of 1 ready")
        manager.expect(READY="1")
        manager.expect(WATCHDOG="1")
        daemon.kill()
        manager.until(lambda one: "services run on" in one.get("STATUS", ""), "that the daemon ended")
        manager.expect(WATCHDOG="1")
        status(keeper.greeted_daemon(), "ready", "1 of 1 ready")
        assert "READY" not in manager.expect(STATUS="1 of 1 ready"), "it was ready all the time"
        manager.expect(WATCHDOG="1")
        keeper.signal(signal.SIGSTOP)
        manager.read()
        manager.inbox.clear()
        assert not manager.read(0.5), "a keeper that hangs feeds nobody"
        keeper.signal(signal.SIGCONT)
        manager.expect(WATCHDOG="1")


@pytest.mark.slow  # it waits for what must not come
def test_a_watchdog_for_another_process_is_not_fed(tmp_path: Path, manager: ServiceManager) -> None:
    with Keeper(tmp_path, env=manager.environ(watchdog=0.1, pid=os.getpid())) as keeper:
        status(keeper.greeted_daemon(), "ready", "")
        manager.expect(READY="1")
        assert not manager.read(0.3)


@pytest.mark.slow  # it waits for a silence
def test_a_daemon_that_hangs_is_replaced_and_its_services_run_on(
    tmp_path: Path, manager: ServiceManager
) -> None:
    with Keeper(tmp_path, env=manager.environ(watchdog=0.2), patience=SHORT) as keeper:
        daemon = keeper.greeted_daemon()
        pid = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
        status(daemon, "ready", "1 of 1 ready")
        for _ in range(3):  # as long as it answers it stays
            daemon.send({"type": "pong", "re": daemon.event("ping")["id"]})
        daemon.event("ping")  # and here it hangs
        second = keeper.daemon()
        assert second.pid != daemon.pid
        keeper.says(f"daemon {daemon.pid} does not answer; it is replaced")
        _, snapshot = second.hello()
        assert [one["pid"] for one in snapshot if one["type"] == "run"] == [pid]


@pytest.mark.slow  # it waits for a silence
def test_a_daemon_that_takes_over_and_never_says_how_the_fleet_stands_is_replaced(
    tmp_path: Path, manager: ServiceManager
) -> None:
    with Keeper(tmp_path, env=manager.environ(), patience=SHORT / 2) as keeper:
        first = keeper.greeted_daemon()
        first.send({"type": "note", "slot": "fleet:", "note": "running"})
        first.sync()
        first.kill()
        second = keeper.greeted_daemon()
        assert keeper.daemon().pid != second.pid
        keeper.says(f"daemon {second.pid} does not take the fleet over")


@pytest.mark.slow  # it waits for beats
def test_a_manager_is_asked_for_patience_while_the_fleet_starts_and_stops_and_not_in_between(
    tmp_path: Path, manager: ServiceManager
) -> None:
    with Keeper(tmp_path, env=manager.environ(), patience=SHORT) as keeper:
        daemon = keeper.greeted_daemon()
        status(daemon, "starting", "0 of 1 ready")
        asked = manager.until(lambda one: "EXTEND_TIMEOUT_USEC" in one, "a request for patience")
        assert int(asked["EXTEND_TIMEOUT_USEC"]) == pytest.approx(30e6 * SHORT)
        daemon.send({"type": "pong", "re": daemon.event("ping")["id"]})
        status(daemon, "ready", "1 of 1 ready")
        manager.expect(READY="1")
        assert not manager.read(0.5), "nothing wakes a fleet that is settled"
        daemon.inbox.clear()
        daemon.send({"type": "shutdown"})
        manager.expect(STOPPING="1")
        manager.until(lambda one: "EXTEND_TIMEOUT_USEC" in one, "a request for patience")


def test_a_manager_that_is_not_there_or_not_spoken_to_this_way_stops_nothing(tmp_path: Path) -> None:
    for address in (str(tmp_path / "nobody"), "vsock:2:1234"):
        with Keeper(tmp_path, env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}) as keeper:
            daemon = keeper.greeted_daemon()
            status(daemon, "ready", "")
            daemon.sync()
    assert "the service manager was not told" in keeper.stderr()
    assert "vsock:2:1234" in keeper.stderr()


def test_where_stderr_is_the_journal_each_line_has_a_priority(tmp_path: Path) -> None:
    (tmp_path / "keeper.err").touch()
    status = (tmp_path / "keeper.err").stat()
    env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", "NOTIFY_SOCKET": "none"}
    with Keeper(tmp_path, env=env) as keeper:
        keeper.says("<4>orchestra keeper: NOTIFY_SOCKET is 'none'")
