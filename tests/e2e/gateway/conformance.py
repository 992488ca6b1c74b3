"""The official conformance suite as a program of npm: runs it at an address, and reads what it found."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.gateway.npm import npm_folder

__all__ = ["REQUIRED", "TASKS", "Check", "Verdict", "run_suite"]

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


@dataclass(frozen=True, slots=True)
class Check:
    """One check that did not pass.

    Attributes:
        scenario: Of which it is one.
        name: Its id.
        status: `FAILURE`, or `WARNING` for what a server should do and need not.
        message: What the suite says of it.
    """

    scenario: str
    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the suite found.

    Attributes:
        status: Its exit status.
        scenarios: How many it ran.
        failed: Scenarios with failed checks.
        checks: All that did not pass.
        said: Its output, for messages.
    """

    status: int
    scenarios: int
    failed: set[str]
    checks: list[Check]
    said: str


def run_suite(url: str, revision: str, folder: Path, *options: str) -> Verdict:
    """Run all that a revision requires of a server; skips the test where npm cannot install the suite.

    Args:
        url: Of the endpoint; it asks for no token.
        revision: `2025-11-25` or `2026-07-28`.
        folder: For the results, empty.
        options: Further ones of the suite.
    """
    modules = npm_folder("conformance", PACKAGES) / "node_modules"
    suite = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    results = folder / "results"
    command = [modules / ".bin" / "node", suite, "server", "--url", url, "--requirements", revision]
    command += ["-o", str(results), *options]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    rows = RESULT.findall(done.stdout)
    return Verdict(
        done.returncode,
        len(rows),
        {name for mark, name, _, failures in rows if mark == "✗" or failures != "0"},
        [one for path in sorted(results.glob("*/checks.json")) for one in _checks(path)],
        done.stdout[-4000:] + done.stderr[-2000:],
    )


def _checks(path: Path) -> list[Check]:
    scenario = re.sub(r"^server-(.*?)-\d{4}-\d\d-\d\dT.*", r"\1", path.parent.name)
    return [
        Check(scenario, one["id"], one["status"], str(one.get("errorMessage")))
        for one in json.loads(path.read_text(encoding="utf-8"))
        if one["status"] in {"FAILURE", "WARNING"}
    ]
