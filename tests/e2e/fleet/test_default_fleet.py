"""The fleet that comes with the repository: its MCP server is behind the gateway without a word more."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.fleet.test_gateway_service import free_port
from tests.e2e.fleet_driver import ROOT, Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TOOLS = ["forget", "list", "remember", "search"]


def test_its_memory_is_listed_and_called_through_the_gateway(fleet: Fleet) -> None:
    shutil.copy(ROOT / "orchestra_autostart.json", fleet.path)
    shutil.copytree(ROOT / "configs", fleet.path / "configs")
    ports = {f"ORCHESTRA_{name}_PORT": str(free_port()) for name in ("BACKEND", "CONTEXT", "MEMORY", "MCP")}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    assert fleet.ok("check", PATH=path, **ports) == "nothing to report; 4 services in 2 files\n"
    fleet.up(PATH=path, **ports)
    # The very first question: whoever lists once sees all.
    listed = json.loads(fleet.ok("mcp", "tools", "--json"))["tools"]
    assert [one["name"] for one in listed if one["from"] == "gateway"] == [f"memory__{one}" for one in TOOLS]
    assert "fleet_status" in [one["name"] for one in listed if one["from"] == "control"]
    fleet.ok("mcp", "call", "memory", "remember", "text=The kettle is blue.")
    found = json.loads(fleet.ok("mcp", "call", "memory", "search", "query=kettle"))
    assert [hit["memory"]["text"] for hit in found["hits"]] == ["The kettle is blue."]
    fleet.ok("down")
