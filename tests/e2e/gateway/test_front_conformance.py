"""The official conformance suite at the front: every scenario that a revision requires, and some more."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.gateway.front_driver import Front
from tests.e2e.gateway.npm import npm_folder

PACKAGES = {"node": "22", "@modelcontextprotocol/conformance": "0.2.0-alpha.12"}
"""The suite uses `fs.globSync`, which Node has from 22 on: npm has that as a package."""

REQUIRED = {"2025-11-25": 30, "2026-07-28": 37}
"""How many scenarios each revision requires."""

TASKS = {
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
}
"""Of an optional extension (SEP-2663) that the fixture does not have; the suite does not count them."""

RESULT = re.compile(r"^([✓✗]) ([\w-]+): (\d+) passed, (\d+) failed", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", REQUIRED)
def test_the_front_conforms(front: Front, tmp_path: Path, revision: str) -> None:
    modules = npm_folder("conformance", PACKAGES) / "node_modules"
    suite = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    command = [modules / ".bin" / "node", suite, "server", "--url", front.url, "--requirements", revision]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    rows = RESULT.findall(result.stdout)
    failed = {name for mark, name, _, failures in rows if mark == "✗" or failures != "0"}
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert failed == (TASKS if revision == "2026-07-28" else set()), result.stdout[-4000:]
    assert len(rows) >= REQUIRED[revision]
