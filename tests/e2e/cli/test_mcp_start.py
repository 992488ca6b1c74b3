"""The pump that starts a fleet where there is none, and only where it may."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.cli.holder import keeper_pid_of
from tests.e2e.cli.shim_driver import Client
from tests.e2e.fleet_driver import Fleet, until


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path)
    one.write({"sleeper": {"command": ["sleep", "600"]}})
    yield one
    one.end()


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    made: list[Client] = []
    yield made
    for client in made:
        client.end()


def client_of(fleet: Fleet, clients: list[Client], *words: str, **env: str) -> Client:
    clients.append(Client(fleet.home, *words, **fleet.environ(**env)))
    return clients[-1]


def starters(fleet: Fleet) -> list[int]:
    found = {pid: Path(f"/proc/{pid}/cmdline") for pid in fleet.processes()}
    return [pid for pid, place in found.items() if place.exists() and b"\0up\0" in place.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["option", "environment"])
def test_the_fleet_is_started_once_for_all_and_not_again_after_it_was_taken_down(
    fleet: Fleet, clients: list[Client], by: str
) -> None:
    words, env = (("--start",), {}) if by == "option" else ((), {"ORCHESTRA_MCP_START": "1"})
    started = [client_of(fleet, clients, *words, **env) for _ in range(3)]
    until(lambda: keeper_pid_of(fleet.home), "a keeper holds the home")
    until(lambda: "ready" in str(fleet.status()) or "running" in str(fleet.status()), "the service runs")
    until(lambda: not starters(fleet), "all that were to start it have seen that it runs")
    for client in started:
        client.send({"id": 1, "method": "ping"})
    fleet.ok("down")
    for client in started:
        assert client.read()["id"] == 1
        client.process.terminate()
        assert client.process.wait(20) == 0
    assert keeper_pid_of(fleet.home) is None


@pytest.mark.slow
def test_a_fleet_that_cannot_start_is_told_with_the_reason(fleet: Fleet, clients: list[Client]) -> None:
    (fleet.path / "orchestra.json").write_text('{"services": ', encoding="utf-8")
    client = client_of(fleet, clients, "--start", "-c", str(fleet.path / "orchestra.json"))
    text = client.handshake()["instructions"]
    assert "did not start (exit status 3)" in text
    assert "orchestra.json:1" in text
    _, _, errors = client.close()
    assert "nothing was started" in errors


@pytest.mark.slow
def test_without_leave_nothing_is_started(fleet: Fleet, clients: list[Client]) -> None:
    client = client_of(fleet, clients)
    assert "no fleet runs on" in client.handshake()["instructions"]
    assert client.close()[0] == 0
    assert not (fleet.home / "lock").exists()
