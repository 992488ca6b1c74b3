"""The Inspector's command line at a real fleet: lists, calls, reads, over HTTP and `orchestra mcp`."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra_supervisor.mcp_tokens import make_token
from tests.e2e.fleet.test_gateway_service import free_port
from tests.e2e.fleet_driver import Fleet, python, until
from tests.e2e.gateway.npm import npm_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PACKAGES = {"node": "22", "@modelcontextprotocol/inspector": "2.12.0"}
SLEEP = python("import time; time.sleep(600)")

AUTH_REQUIRED = 3
TOOL_FAILED = 5


class Inspector:
    """The Inspector's command line, and the file that says where its servers are."""

    def __init__(self, modules: Path, fleet: Fleet, url: str) -> None:
        self._modules = modules
        self._fleet = fleet
        self._config = fleet.path / "inspector.json"
        token = make_token(fleet.home, "inspector", "operator", 1.0)
        command, *words = fleet.argv("mcp", "--home", str(fleet.home))
        environ = fleet.environ()
        both: dict[str, dict[str, object]] = {
            "http": {"type": "streamable-http", "url": url, "headers": {"Authorization": f"Bearer {token}"}},
            "stdio": {"command": command, "args": words, "env": environ},
            "nobody": {"type": "streamable-http", "url": url},
        }
        servers = {
            f"{name}-{era}": {**one, "protocolEra": era}
            for name, one in both.items()
            for era in ("legacy", "modern")
        }
        self._config.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")

    def run(self, server: str, method: str, *options: str) -> tuple[int, dict[str, Any]]:
        """Ask a server something; return the exit status and what is printed."""
        program = self._modules / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build"
        command = [str(self._modules / ".bin" / "node"), str(program / "index.js"), "--cli"]
        command += ["--config", str(self._config), "--server", server, "--method", method, "--format", "json"]
        environ = self._fleet.environ(HOME=str(self._fleet.path), MCP_INSPECTOR_SECRET_STORE="memory")
        done = subprocess.run(
            [*command, *options],
            cwd=self._fleet.path,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        said = done.stdout if done.returncode == 0 else done.stderr
        rows = [row for row in said.splitlines() if row.startswith("{")]
        assert rows, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.returncode, json.loads(rows[-1])


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspector]:
    """The Inspector, and a fleet with one service."""
    modules = npm_folder("inspector", PACKAGES) / "node_modules"
    fleet = Fleet(tmp_path_factory.mktemp("inspector"))
    port = free_port()
    fleet.write({"web": {"command": SLEEP}}, mcp={"http": port})
    try:
        fleet.up()
        yield Inspector(modules, fleet, f"http://127.0.0.1:{port}/mcp")
        fleet.ok("down")
    finally:
        fleet.end()
    until(lambda: not fleet.processes(), "nothing is left")


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("wire", ["http", "stdio"])
def test_it_lists_calls_and_reads(inspector: Inspector, wire: str, era: str) -> None:
    server = f"{wire}-{era}"
    status, listed = inspector.run(server, "tools/list")
    assert status == 0
    assert "service_diagnose" in [tool["name"] for tool in listed["result"]["tools"]]
    words = ["--tool-name", "fleet_status", "--tool-arg", "query=web"]
    status, called = inspector.run(server, "tools/call", *words)
    assert status == 0
    rows = called["result"]["structuredContent"]["services"]
    assert [(row["name"], row["state"]) for row in rows] == [("web", "ready")]
    status, read = inspector.run(server, "resources/read", "--uri", "service://web")
    assert status == 0
    (content,) = read["result"]["contents"]
    assert json.loads(content["text"])["service"]["state"] == "ready"


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_it_speaks_the_era_that_it_is_told_to(inspector: Inspector, era: str) -> None:
    status, greeted = inspector.run(f"http-{era}", "initialize")
    assert status == 0
    wanted = {"legacy": "2025-11-25", "modern": "2026-07-28"}[era]
    assert greeted["result"]["protocolVersion"] == wanted


def test_its_exit_status_tells_a_failed_tool_and_a_missing_token(inspector: Inspector) -> None:
    words = ["--tool-name", "service_inspect", "--tool-arg", "name=nothing"]
    assert inspector.run("http-legacy", "tools/call", *words)[0] == TOOL_FAILED
    status, refused = inspector.run("nobody-legacy", "tools/list")
    assert (status, refused["error"]["code"]) == (AUTH_REQUIRED, "auth_required")
