"""The CLI stays small: what a command loads is what it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestra_supervisor.cli.catalog import COMMANDS
from tests.e2e.cli.runner import ROOT, environment

HEAVY = {
    "mcp",
    "pydantic",
    "pydantic_core",
    "starlette",
    "anyio",
    "uvicorn",
    "h11",
    "psutil",
    "trio",
    "sqlite3",
    "asyncio",
    "pluggy",
    "httpx2",
}
OURS = {
    "engine",
    "daemon",
    "control",
    "surfaces",
    "config",
    "rules",
    "process",
    "probes",
    "journal",
    "plugin_api",
    "keeper",
    "logger",
}
LIST = """
import sys
from orchestra_supervisor.cli.main import main
status = main(sys.argv[1:])
print("modules:", *sorted(sys.modules), file=sys.stderr)
"""


def modules_after(*words: str, cwd: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LIST, *words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=20,
        check=True,
    )
    return set(done.stderr.rpartition("modules: ")[2].split())


@pytest.mark.parametrize(
    "verb",
    [
        "status",
        "start",
        "down",
        "logs",
        "events",
        "plugins",
        "wait",
        "plan",
        "reload",
        "up",
        "top",
        "graph",
        "upgrade-daemon",
        "completion",
    ],
)
def test_no_command_but_check_loads_the_engine_or_its_libraries(verb: str, tmp_path: object) -> None:
    names = {"start": ["all"], "wait": ["all"], "completion": ["bash"]}.get(verb, [])
    loaded = modules_after("--home", str(tmp_path), verb, *names, cwd=str(tmp_path))
    assert not HEAVY & {name.partition(".")[0] for name in loaded}
    assert not {f"orchestra_supervisor.{room}" for room in OURS} & loaded


def test_check_loads_what_runs_plugins_only_for_a_fleet_that_has_any(tmp_path: Path) -> None:
    path = tmp_path / "orchestra.json"
    path.write_text('{"services": {"one": {"command": ["true"]}}}', encoding="utf-8")
    loaded = modules_after("check", str(path), cwd=str(tmp_path))
    assert not {"asyncio", "anyio", "pluggy", "orchestra_supervisor.plugin_api.loader"} & loaded


def test_status_loads_no_module_of_another_command(tmp_path: object) -> None:
    loaded = modules_after("--home", str(tmp_path), "version", cwd=str(tmp_path))
    commands = {name for name in loaded if name.startswith("orchestra_supervisor.cli.commands.")}
    assert commands == {"orchestra_supervisor.cli.commands.version"}
    assert not {"subprocess", "dataclasses", "inspect", "shutil"} & loaded


def test_every_command_module_is_named_in_the_catalog() -> None:
    files = {path.stem for path in (ROOT / "orchestra_supervisor" / "cli" / "commands").glob("[a-z]*.py")}
    assert files == {command.module for command in COMMANDS.values()}
