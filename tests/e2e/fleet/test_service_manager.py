"""A whole life under a service manager: start, readiness, reload, a killed daemon, end."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.surfaces.journald_feed import JOURNAL_SOCKET
from tests.e2e.fleet_driver import DEADLINE, Fleet
from tests.process.service_manager import ServiceManager

STAY = ["sleep", "1000"]


class Managed:
    """A fleet that a service manager started: the command becomes the keeper."""

    def __init__(self, fleet: Fleet, manager: ServiceManager, **env: str) -> None:
        self.fleet, self.manager = fleet, manager
        self.messages = (fleet.path / "messages").open("w+b")
        self.process = subprocess.Popen(
            fleet.argv("up", "--exec"),
            cwd=fleet.path,
            env=fleet.environ(**env),
            stdin=subprocess.DEVNULL,
            stdout=self.messages,
            stderr=self.messages,
        )


@pytest.fixture
def managed(fleet: Fleet) -> Iterator[Managed]:
    """A fleet of two services with a watchdog of a second."""
    fleet.write({"one": {"command": STAY}, "two": {"command": STAY}}, journald=True)
    with ServiceManager() as manager:
        one = Managed(fleet, manager, **manager.environ(watchdog=1.0))
        yield one
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(DEADLINE)
        one.messages.close()


@pytest.mark.slow
def test_a_manager_follows_a_fleet_from_its_start_to_its_end(managed: Managed) -> None:
    fleet, manager = managed.fleet, managed.manager
    ready = manager.expect(DEADLINE, READY="1")
    assert ready["MAINPID"] == str(managed.process.pid), "the main process became the keeper"
    assert ready["STATUS"] == "2 of 2 ready"
    assert fleet.keeper == managed.process.pid
    pids = {name: fleet.pid(name) for name in ("one", "two")}
    for pid in pids.values():
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
    manager.expect(DEADLINE, WATCHDOG="1")
    # The daemon is killed: the manager hears of it, and is never told that the fleet is not ready.
    old = fleet.kill_daemon()
    manager.until(lambda one: "killed by signal 9" in one.get("STATUS", ""), "the daemon ended", DEADLINE)
    manager.expect(DEADLINE, STATUS="2 of 2 ready")
    assert fleet.daemon()["pid"] != old
    # SIGHUP, first with a file that is wrong.
    (fleet.path / "orchestra.json").write_text("{", encoding="utf-8")
    managed.process.send_signal(signal.SIGHUP)
    assert int(manager.expect(DEADLINE, RELOADING="1")["MONOTONIC_USEC"]) > 0
    assert "refused" in manager.expect(DEADLINE, READY="1")["STATUS"]
    fleet.write({"one": {"command": STAY}, "two": {"command": STAY}, "three": {"command": STAY}})
    managed.process.send_signal(signal.SIGHUP)
    manager.expect(DEADLINE, RELOADING="1")
    status = manager.expect(DEADLINE, READY="1").get("STATUS")
    fleet.until_state("three", "ready")
    if status != "3 of 3 ready":  # it is said once: with the end of the reload where the third was that fast
        manager.expect(DEADLINE, STATUS="3 of 3 ready")
    assert {name: fleet.pid(name) for name in pids} == pids
    managed.process.send_signal(signal.SIGTERM)
    manager.expect(DEADLINE, STOPPING="1")
    assert managed.process.wait(DEADLINE) == 0
    assert manager.senders == {managed.process.pid}
    if not Path(JOURNAL_SOCKET).exists():
        said = (fleet.path / "messages").read_text(encoding="utf-8")
        assert said.count("events do not reach the journal") == 2, "once for each daemon"
