"""Probes of every kind against real servers: who is ready, who is not any more, who is restarted."""

import socket
from collections.abc import Callable

import pytest

from tests.e2e.fleet_driver import Fleet, python, until

# Answers what the file says: a status and a body. Written on sockets, as it has to start fast.
SERVER = """
import os, signal, socket, sys
print("here", flush=True)
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
while True:
    c, _ = s.accept()
    with c:
        c.settimeout(2)
        try:
            if c.recv(65536):
                status, body = open(sys.argv[2]).read().split("|")
                answer = "HTTP/1.1 %s X\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s"
                c.sendall((answer % (status, len(body), body)).encode())
        except OSError:
            pass
"""
STAY = "import os, signal\nos.write(1, b'here\\n')\nsignal.pause()\n"
QUICK = {"period": "50ms", "timeout": "1s"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def probed(make_fleet: Callable[[str], Fleet]) -> Fleet:
    """A fleet with a service for each kind of probe."""
    fleet = make_fleet("probed")
    ports = {name: free_port() for name in ("http", "tcp", "live")}
    for name in ("http", "live"):
        (fleet.path / name).write_text("200|all is well", encoding="utf-8")
    serve = {name: python(SERVER, port, fleet.path / name) for name, port in ports.items()}
    url = "http://127.0.0.1:{}/health"
    check = {
        "url": url.format(ports["http"]),
        "status": [200, 204],
        "body": "is w.ll",
        "headers": {"X-A": "b"},
    }
    fleet.write(
        {
            "http": {"command": serve["http"], "probes": {"readiness": {"http": check, **QUICK}}},
            "tcp": {"command": serve["tcp"], "probes": {"startup": {"tcp": ports["tcp"], **QUICK}}},
            "command": {
                "command": python(STAY),
                "env": {"WANTED": str(fleet.path / "command")},
                "probes": {"readiness": {"command": 'test -e "$WANTED"', **QUICK}},
            },
            "live": {
                "command": serve["live"],
                "restart": "on-failure",
                "probes": {
                    "startup": {"tcp": ports["live"], **QUICK},
                    "liveness": {"http": url.format(ports["live"]), "failure_threshold": 3, **QUICK},
                },
            },
            "late": {
                "command": python(STAY),
                "startup_timeout": "200ms",
                "restart": {"policy": "always", "max_restarts": 1, "backoff": {"initial": "50ms"}},
                "probes": {"startup": {"tcp": 1, "failure_threshold": 1000, **QUICK}},
            },
        }
    )
    (fleet.path / "command").touch()
    fleet.run("up", "--detach")
    fleet.ok("wait", "http", "tcp", "command", "live", "--for", "ready", "--timeout", "15")
    return fleet


def test_a_body_that_no_longer_matches_makes_a_service_unhealthy_and_it_recovers(probed: Fleet) -> None:
    pid = probed.until_state("http", "ready")["pid"]
    before = len(probed.events("service.unhealthy", "http"))
    for answer in ("200|all is bad", "500|all is well"):
        (probed.path / "http").write_text(answer, encoding="utf-8")
        row = probed.until_state("http", "unhealthy")
        assert row["pid"] == pid
        assert row["probe_error"]
        (probed.path / "http").write_text("201|all is well", encoding="utf-8")
        row = probed.until_state("http", "ready")
        assert (row["pid"], row["restarts"]) == (pid, 0)
    assert len(probed.events("service.unhealthy", "http")) == before + 2
    assert probed.events("service.probe_failed", "http")


def test_a_command_probe_sees_the_services_environment_and_decides(probed: Fleet) -> None:
    (probed.path / "command").unlink()
    row = probed.until_state("command", "unhealthy")
    assert "exit code 1" in row["probe_error"]
    (probed.path / "command").touch()
    assert probed.until_state("command", "ready")["restarts"] == 0


def test_a_tcp_probe_makes_ready_who_accepts(probed: Fleet) -> None:
    assert probed.service("tcp")["state"] == "ready"


def test_a_liveness_failure_restarts_the_service(probed: Fleet) -> None:
    pid = probed.pid("live")
    (probed.path / "live").write_text("503|sorry", encoding="utf-8")
    assert until(lambda: probed.service("live")["pid"] not in {pid, None}, "another process")
    assert probed.service("live")["restarts"] >= 1
    (probed.path / "live").write_text("200|all is well", encoding="utf-8")
    probed.until_state("live", "ready")
    assert any("503" in str(event["message"]) for event in probed.events("service.", "live"))


def test_who_is_not_ready_within_the_startup_timeout_has_failed(probed: Fleet) -> None:
    row = probed.until_state("late", "failed")
    assert row["restarts"] == 1
    assert row["pid"] is None
    assert any("0.2 s" in str(event["message"]) for event in probed.events("service.", "late"))


def test_health_goes_on_from_daemon_to_daemon(probed: Fleet) -> None:
    probed.until_state("http", "ready")
    pid = probed.pid("http")
    old = probed.kill_daemon()
    (probed.path / "http").write_text("500|all is bad", encoding="utf-8")
    assert until(lambda: probed.daemon()["pid"] != old, "a new daemon")
    assert probed.until_state("http", "unhealthy")["pid"] == pid
    (probed.path / "http").write_text("200|all is well", encoding="utf-8")
    assert probed.until_state("http", "ready")["pid"] == pid
