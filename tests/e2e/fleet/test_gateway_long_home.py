"""A home whose sockets have no room where they belong: clients of the gateway find them where they are."""

from pathlib import Path

import pytest

from tests.e2e.cli.shim_driver import Client
from tests.e2e.fleet_driver import Fleet, python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SLEEP = python("import time; time.sleep(600)")


def test_the_pump_and_the_command_line_reach_the_gateway_of_a_home_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("a-long-name-" * 12)
    folder.mkdir()
    fleet = Fleet(folder)
    try:
        fleet.write({"web": {"command": SLEEP}})
        fleet.up()
        assert not (fleet.home / "mcp.sock").exists()
        client = Client(fleet.home)
        try:
            assert client.handshake()["serverInfo"]["name"] == "orchestra"
        finally:
            client.end()
        assert "fleet_status" in fleet.ok("mcp", "tools", "--server", "control")
    finally:
        fleet.ok("down")
        fleet.end()
