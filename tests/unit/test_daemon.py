"""The daemon stays small: what a fleet has no use for is not loaded."""

import subprocess
import sys

CODE = """
import runpy, sys
sys.argv = ["daemon", "--no-such-option"]
try:
    runpy.run_module("orchestra_supervisor.daemon", run_name="__main__")
except SystemExit as end:
    print(end.code, *[name for name, module in sys.modules.items() if "_Module" not in type(module).__name__])
"""
NEVER = {"uvicorn", "starlette", "click", "mcp", "httpx2", "argparse", "multiprocessing"}
FOR_SOME = {
    *("watchdog", "pathspec", "h11", "h2", "regex", "supervisor", "configparser", "xmlrpc", "yaml"),
    *("difflib", "gzip", "tempfile", "zipfile", "email", "importlib.metadata"),
}


def test_a_daemon_loads_no_more_than_every_fleet_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE], capture_output=True, check=True, timeout=20, encoding="utf-8"
    )
    status, *modules = done.stdout.split()
    assert status == "2"
    assert "orchestra_supervisor.engine.supervisor" in modules
    assert "pydantic" in modules
    assert {name for name in modules if {name, name.split(".")[0]} & (NEVER | FOR_SOME)} == set()
