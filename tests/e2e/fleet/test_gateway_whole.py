"""The gateway on a real fleet, nothing stood in for: keeper, daemon, gateway and a server on its stdio."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.gateway.daemon_link import DaemonLink
from orchestra_supervisor.mcp_tokens import make_token
from tests.e2e.fleet.test_gateway_service import free_port
from tests.e2e.fleet_driver import ROOT, Fleet, alive, python, until
from tests.e2e.gateway.front_driver import Line, socket_transport

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SERVER = ROOT / "tests" / "e2e" / "gateway" / "raw_server.py"
SLEEP = python("import time; time.sleep(600)")


@pytest.fixture(scope="module")
def fleet(make_fleet: Callable[[str], Fleet]) -> Fleet:
    """A fleet with one ordinary service and one MCP server, up."""
    one = make_fleet("whole")
    one.port = free_port()  # type: ignore[attr-defined]
    one.write({"web": {"command": SLEEP}}, mcp={"http": one.port, "idle_stop": 600})  # type: ignore[attr-defined]
    servers = {"raw": {"command": sys.executable, "args": [str(SERVER), "good"]}}
    path = one.path / "claude_mcp_config.json"
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    one.up()
    return one


def mcp_socket(fleet: Fleet) -> str:
    return str(socket_path(fleet.home, "mcp"))


def line(fleet: Fleet, **hello: object) -> Line:
    return Line(mcp_socket(fleet), {"orchestra": 1, "endpoint": "control", **hello})


def call(name: str, arguments: dict[str, object] | None = None, request_id: object = 1) -> dict[str, object]:
    params = {"name": name, "arguments": arguments or {}}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def words(answer: dict[str, Any]) -> str:
    return str(answer["result"]["content"][0]["text"])


def ask(client: Line, message: dict[str, object]) -> dict[str, Any]:
    """Ask, and pass over what the gateway tells of changes."""
    answer = client.ask(message)
    while "id" not in answer:
        answer = client.receive() or {"id": None}
    return answer


def tools(client: Line) -> list[str]:
    answer = ask(client, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    return [tool["name"] for tool in answer["result"]["tools"]]


def is_served(fleet: Fleet, server: str) -> bool:
    with line(fleet, endpoint="server", server=server) as client:
        with suppress(BrokenPipeError):  # its hello is refused already
            client.send({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        return "result" in (client.receive() or {})


def test_the_control_tools_tell_of_the_fleet(fleet: Fleet) -> None:
    with line(fleet) as control:
        assert control.initialize()["result"]["serverInfo"]["name"] == "orchestra"
        answer = control.ask(call("fleet_status"))
    names = [row["name"] for row in answer["result"]["structuredContent"]["services"]]
    assert "web" in names


def test_a_server_is_started_by_the_first_call_and_survives_the_gateway(fleet: Fleet) -> None:
    with line(fleet, endpoint="gateway") as all_servers:
        all_servers.initialize()
        until(lambda: "raw__read" in tools(all_servers), "the server was asked for its tools")
        counted = words(ask(all_servers, call("raw__read")))
        server, gateway = fleet.pid("raw"), int(fleet.daemon()["gateway_pid"])
        fleet.kill(gateway)
        assert all_servers.receive() is None
    with line(fleet, endpoint="server", server="raw") as one_server:
        one_server.initialize()
        again = words(ask(one_server, call("read")))
    assert int(again) > int(counted), "the same process counts on"
    assert fleet.pid("raw") == server
    assert not alive(gateway)


def test_the_daemon_ends_a_server_that_the_gateway_finds_hung(fleet: Fleet) -> None:
    with line(fleet, endpoint="server", server="raw") as one_server:
        one_server.initialize()
        ask(one_server, call("read"))
        first = fleet.pid("raw")
        link = DaemonLink(socket_path(fleet.home))
        anyio.run(link.callbacks().hung, "raw", "3 questions of the gateway in 100 s")
        until(lambda: fleet.service("raw")["pid"] not in {None, first}, "another process runs")
        ended = next(one for one in fleet.events("service.stopping", "raw"))
        assert "found not to answer" in ended["message"]
        assert "3 questions of the gateway" in ended["message"]
        assert int(words(ask(one_server, call("read", request_id=2)))) == 1


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("wire", ["socket", "http"])
def test_the_sdk_client_calls_through_to_the_server(fleet: Fleet, wire: str, mode: str) -> None:
    token = make_token(fleet.home, f"test {wire} {mode}", "operator", 1.0)
    url = f"http://127.0.0.1:{fleet.port}/gw/mcp"  # type: ignore[attr-defined]

    async def main() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            hello = {"orchestra": 1, "endpoint": "gateway"}
            target = (
                socket_transport(mcp_socket(fleet), hello)
                if wire == "socket"
                else streamable_http_client(url, http_client=http)
            )
            with anyio.fail_after(30):
                async with Client(target, mode=mode, cache=None) as client:
                    assert "raw__read" in [tool.name for tool in (await client.list_tools()).tools]
                    result = await client.call_tool("raw__read", {})
                    assert int(result.content[0].text) > 0  # type: ignore[union-attr]

    anyio.run(main)


def test_a_reload_takes_servers_in_and_out_while_clients_are_connected(fleet: Fleet) -> None:
    path = fleet.path / "claude_mcp_config.json"
    servers = {name: {"command": sys.executable, "args": [str(SERVER), "good"]} for name in ("raw", "second")}
    with line(fleet, endpoint="gateway") as client:
        client.initialize()
        path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        fleet.ok("reload")

        until(lambda: is_served(fleet, "second"), "the new server is served")
        until(lambda: "second__read" in tools(client), "its tools are known")
        assert int(words(ask(client, call("second__read")))) > 0
        del servers["second"]
        path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        fleet.ok("reload")
        until(lambda: not is_served(fleet, "second"), "the server is gone")
        assert int(words(ask(client, call("raw__read")))) > 0


def test_the_files_of_the_gateway_are_the_owners(fleet: Fleet) -> None:
    for name in ("mcp-session.key", "mcp-tokens.json"):
        path: Path = fleet.home / name
        assert path.stat().st_mode & 0o777 == 0o600
