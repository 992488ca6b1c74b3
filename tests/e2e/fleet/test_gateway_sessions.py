"""Sessions with a server of their own, on a real fleet: when one is over, its process goes."""

import http.client
import json
import sys

import pytest

from orchestra_supervisor.mcp_tokens import make_token
from tests.e2e.fleet.test_gateway_service import free_port
from tests.e2e.fleet.test_gateway_whole import ask, call, line, words
from tests.e2e.fleet_driver import ROOT, Fleet, python
from tests.e2e.gateway.front_driver import BOTH, ENVELOPE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TALKS = python(
    "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('hello', flush=True))\n"
    "print('listens', flush=True)\nwhile True: signal.pause()"
)
SERVER = ROOT / "tests" / "e2e" / "gateway" / "raw_server.py"


def start(fleet: Fleet) -> int:
    """Start a fleet whose server is each session's own; return its HTTP port."""
    port = free_port()
    fleet.write({}, mcp={"http": port, "idle_stop": 600})
    entry = {"command": sys.executable, "args": [str(SERVER), "good"], "sharing": "per_session", "size": 1}
    path = fleet.path / "claude_mcp_config.json"
    path.write_text(json.dumps({"mcpServers": {"own": entry}}), encoding="utf-8")
    fleet.up()
    return port


@pytest.mark.parametrize("era", ["handshake", "stateless"])
def test_the_process_of_a_connection_ends_when_it_is_closed(fleet: Fleet, era: str) -> None:
    start(fleet)
    read = call("read", request_id=2)
    with line(fleet, endpoint="server", server="own") as client:
        if era == "handshake":
            client.initialize()
        else:
            read["params"] |= {"_meta": ENVELOPE}  # type: ignore[operator]
        assert words(ask(client, read)) == "1"
        assert fleet.service("own@1")["state"] == "ready"
    fleet.until_state("own@1", "stopped")
    with line(fleet, endpoint="server", server="own") as client:
        client.initialize()
        assert words(ask(client, call("read", request_id=2))) == "1"


def test_the_process_of_a_session_over_http_ends_when_it_is_deleted(fleet: Fleet) -> None:
    port = start(fleet)
    headers = {
        "Authorization": f"Bearer {make_token(fleet.home, 'test', 'operator', 1.0)}",
        "Accept": BOTH,
        "Content-Type": "application/json",
    }

    def post(message: dict[str, object]) -> http.client.HTTPResponse:
        connection.request("POST", "/s/own/mcp", json.dumps({"jsonrpc": "2.0", **message}), headers)
        return connection.getresponse()

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    response = post({"id": 1, "method": "initialize", "params": params})
    response.read()
    headers["Mcp-Session-Id"] = response.headers["Mcp-Session-Id"]
    assert b'"1"' in post(call("read", request_id=2)).read()
    assert fleet.service("own@1")["state"] == "ready"
    connection.request("DELETE", "/s/own/mcp", headers=headers)
    assert connection.getresponse().status in {200, 204}
    fleet.until_state("own@1", "stopped")
    connection.close()


@pytest.mark.parametrize("era", ["handshake", "stateless"])
def test_a_client_is_told_of_a_log_that_it_is_subscribed_to(fleet: Fleet, era: str) -> None:
    fleet.write({"talk": {"command": TALKS}})
    fleet.up()
    fleet.until_log("talk", "listens")
    uri = "service://talk/logs"
    with line(fleet) as client:
        if era == "handshake":
            client.initialize()
            subscribe = {"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": uri}}
            assert ask(client, subscribe)["result"] == {}
        else:
            params = {"notifications": {"resourceSubscriptions": [uri]}, "_meta": ENVELOPE}
            client.send({"jsonrpc": "2.0", "id": 2, "method": "subscriptions/listen", "params": params})
            acknowledged = client.receive() or {}
            assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": [uri]}
        fleet.client.signal(["talk"], "SIGUSR1")
        told = client.receive() or {}
        assert (told["method"], told["params"]["uri"]) == ("notifications/resources/updated", uri)
