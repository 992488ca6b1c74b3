"""The gateway keeps no server over HTTP from its end: streams are closed, calls are not."""

import json
import sys
from pathlib import Path

import pytest

from tests.e2e.fleet.test_gateway_service import free_port
from tests.e2e.fleet.test_gateway_whole import ask, call, is_served, line, tools, words
from tests.e2e.fleet_driver import ROOT, Fleet, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SERVER = ROOT / "tests" / "e2e" / "gateway" / "patient_http_server.py"
GRACE = 90
"""Seconds that the server may take: more than the test may."""


def start(fleet: Fleet, era: str) -> Path:
    """Start a fleet with the patient server; return the file that its slow call waits for."""
    port, gate = free_port(), fleet.path / "gate"
    service: dict[str, object] = {
        "command": [sys.executable, str(SERVER), era, str(port), str(gate)],
        "port": port,
        "probes": {"readiness": {"http": f"http://127.0.0.1:{port}/health"}},
        "stop": {"grace": GRACE},
    }
    fleet.write({"patient": service}, mcp={"idle_stop": 600})
    servers = {"patient": {"url": f"http://127.0.0.1:{port}/mcp"}}
    path = fleet.path / "claude_mcp_config.json"
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    fleet.up()
    until(lambda: is_served(fleet, "patient"), "the server is served")
    fleet.until_log("patient", "stream opens")
    return gate


def said(fleet: Fleet) -> list[str]:
    return fleet.log("patient").decode().splitlines()


@pytest.mark.parametrize("era", ["stateless", "handshake"])
def test_a_server_that_is_told_to_end_is_not_kept_by_the_gateways_stream(fleet: Fleet, era: str) -> None:
    start(fleet, era)
    fleet.ok("restart", "--timeout", "15", "patient")
    assert fleet.events("service.exited", "patient")[0]["data"]["code"] == 0
    until(lambda: said(fleet).count("stream opens") == 2, "the stream is open again")
    lines = said(fleet)
    ended = lines.index("ends by itself")
    assert sorted(lines[ended - 2 : ended]) == ["stream closes", "told to end"]
    with line(fleet, endpoint="server", server="patient") as client:
        client.initialize()
        assert tools(client) == ["slow"]


@pytest.mark.parametrize("era", ["stateless", "handshake"])
def test_a_call_that_is_on_its_way_is_answered_by_the_server_that_is_told_to_end(
    fleet: Fleet, era: str
) -> None:
    gate = start(fleet, era)
    with line(fleet, endpoint="server", server="patient") as client:
        client.initialize()
        client.send(call("slow"))
        fleet.until_log("patient", "call begins")
        fleet.ok("restart", "--wait", "none", "patient")
        fleet.until_log("patient", "stream closes")
        gate.touch()
        answer = client.receive() or {}
        while "id" not in answer:
            answer = client.receive() or {"id": None}
        assert words(answer) == "slow and done"
        assert fleet.until_event("service.exited", "patient")["data"]["code"] == 0
        fleet.until_state("patient", "ready")
        assert words(ask(client, call("slow", request_id=2))) == "slow and done"
