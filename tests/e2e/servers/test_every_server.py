"""What holds for each of the three servers: start, guard, stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.servers.server_process import SOURCE, Server, until

NAMES = ("backend", "context", "memory")
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def servers(start: Start) -> dict[str, Server]:
    return {name: start(name, "--access-log") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_server_says_one_line_when_it_listens_and_tells_its_health(
    servers: dict[str, Server], name: str
) -> None:
    server = servers[name]
    assert server.stdout.splitlines()[0].startswith(f"{name} ")
    assert f"(data {server.directory}/home/data/{name})" in server.stdout.splitlines()[0]
    health = server.wait_ready()
    assert health["service"] == name
    assert health["status"] in {"ok", "ready"}
    assert health["uptime"] >= 0
    assert health["version"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "10.0.0.1", ""]
)
def test_a_request_for_a_foreign_host_is_refused(servers: dict[str, Server], name: str, host: str) -> None:
    for path in ("/health", "/mcp"):
        answer = servers[name].get(path, Host=host)
        assert answer.status in {400, 421}
        assert b"uptime" not in answer.body


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "file://", "http://localhost.evil.example:80"]
)
def test_a_request_of_a_foreign_page_is_refused(servers: dict[str, Server], name: str, origin: str) -> None:
    answer = servers[name].get("/health", Origin=origin)
    assert answer.status == 403
    assert answer.error["code"] == "foreign_origin"


@pytest.mark.parametrize("name", NAMES)
def test_loopback_names_and_pages_are_served(servers: dict[str, Server], name: str) -> None:
    server = servers[name]
    for host in ("localhost", "127.0.0.1:99", "[::1]:99", "LOCALHOST."):
        assert server.get("/health", Host=host).status == 200
    assert server.get("/health", Origin="http://localhost:3000").status == 200


@pytest.mark.parametrize("name", NAMES)
def test_the_access_log_is_a_json_line_a_request_without_the_query(
    servers: dict[str, Server], name: str
) -> None:
    server = servers[name]
    server.get("/nothing-here?token=secret")
    out = until(lambda: server.stdout, lambda text: "/nothing-here" in text)
    line = next(line for line in out.splitlines() if "/nothing-here" in line)
    entry = json.loads(line)
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/nothing-here", 404)
    assert "secret" not in out


def test_sigterm_ends_a_server_soon_with_exit_code_0(tmp_path: Path) -> None:
    servers = [Server(name, tmp_path / name) for name in NAMES]
    for server in servers:
        server.wait_ready()
        assert len(server.stdout.splitlines()) == 1  # no access log unless asked for
    for server in servers:
        began = time.monotonic()
        assert server.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 3
        assert server.stderr == ""


def test_sigterm_during_the_start_ends_a_server_too(tmp_path: Path) -> None:
    server = Server("backend", tmp_path)
    assert server.url
    assert server.end(signal.SIGTERM) == 0


def refused(name: str, directory: Path, *args: str, env: dict[str, str] | None = None) -> str:
    """Run a server that cannot start; return what it says."""
    environ = {**os.environ, "PYTHONPATH": str(SOURCE), "ORCHESTRA_HOME": str(directory), **(env or {})}
    command = [sys.executable, "-m", f"orchestra_supervisor.servers.{name}", *args]
    done = subprocess.run(
        command, env=environ, cwd=directory, capture_output=True, encoding="utf-8", timeout=20, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "\nhint: " in done.stderr
    return done.stderr


def test_a_busy_port_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        said = refused("backend", tmp_path, env={"ORCHESTRA_BACKEND_PORT": str(port)})
    assert f"127.0.0.1 port {port}" in said
    assert "ORCHESTRA_BACKEND_PORT" in said
