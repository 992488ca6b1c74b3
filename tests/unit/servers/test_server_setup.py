"""The job that prepares the data, and the file that names the default fleet."""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestra_supervisor.servers.backend.models import NewAgent
from orchestra_supervisor.servers.backend.store import Store
from orchestra_supervisor.servers.settings import DEFAULT_PORTS
from orchestra_supervisor.servers.setup import main, prepare

AUTOSTART = Path(__file__).parents[3] / "orchestra_autostart.json"


def test_setup_prepares_once_and_then_changes_nothing(tmp_path: Path) -> None:
    environ = {"ORCHESTRA_MEMORY_PORT": "9001"}
    first = prepare(tmp_path, environ)
    assert sum("brought from schema 0" in line for line in first) == 2
    platform = tmp_path / "platform.json"
    before = platform.stat().st_mtime_ns
    again = prepare(tmp_path, environ)
    assert all(re.search(r"is at schema|is as it should be", line) for line in again)
    assert platform.stat().st_mtime_ns == before
    endpoints = json.loads(platform.read_text(encoding="utf-8"))["endpoints"]
    assert endpoints["memory"] == "http://127.0.0.1:9001/mcp"
    assert endpoints["backend"] == f"http://127.0.0.1:{DEFAULT_PORTS['backend']}"
    assert "written" in prepare(tmp_path, {})[-1]  # the port is another one now
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_setup_leaves_what_is_there(tmp_path: Path) -> None:
    prepare(tmp_path, {})
    store = Store(tmp_path / "backend" / "backend.sqlite3")
    store.create_agent(NewAgent(id="kept", name="n", model="m"))
    store.database.close()
    prepare(tmp_path, {})
    store = Store(tmp_path / "backend" / "backend.sqlite3")
    assert store.agent("kept").name == "n"
    store.database.close()


def test_setup_that_cannot_do_its_work_says_why_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").touch()
    assert main(["--data", str(tmp_path / "data")]) == 1
    captured = capsys.readouterr()
    assert str(tmp_path / "data") in captured.err
    assert "\nhint: " in captured.err
    assert main(["--data", str(tmp_path / "fine")]) == 0
    assert str(tmp_path / "fine" / "platform.json") in capsys.readouterr().out


def test_the_default_fleet_names_programs_that_exist_and_ports_that_differ() -> None:
    services = json.loads(AUTOSTART.read_text(encoding="utf-8"))["services"]
    assert set(services) == {"setup", *DEFAULT_PORTS}
    for name, service in services.items():
        assert f"python -m orchestra_supervisor.servers.{name}" in service["command"]
        assert find_spec(f"orchestra_supervisor.servers.{name}") is not None
        assert service["description"]
        if name == "setup":
            assert service["type"] == "once"
            continue
        port = f"${{ORCHESTRA_{name.upper()}_PORT:-{DEFAULT_PORTS[name]}}}"
        assert service["port"] == port
        assert f"--port {port}" in service["command"]
        assert service["health_check"] == f"http://127.0.0.1:{port}/health"
        assert service["depends_on"] == {"setup": "completed"}
    assert len(set(DEFAULT_PORTS.values())) == len(DEFAULT_PORTS)
    assert os.access(AUTOSTART, os.R_OK)
