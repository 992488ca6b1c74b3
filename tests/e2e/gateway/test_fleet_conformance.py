"""The official conformance suite at a real fleet: the control endpoint, and a server behind the gateway."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet.test_gateway_service import free_port
from tests.e2e.fleet_driver import Fleet, python, until
from tests.e2e.gateway.conformance import REQUIRED, TASKS, run_suite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BASELINE = Path(__file__).parent / "control_expected_failures.yml"
SLEEP = python("import time; time.sleep(600)")

MISSING = re.compile(
    r"no (?:tool|prompt) 'test_|no resource 'test://|^Tool 'json_schema_2020_12_tool' not found"
    r"|^Not testable: server (?:does not list|exposes no tool)"
)
"""What the control endpoint says, or the suite, where a fixture is not there."""

MISSED = {
    ("input-required-result-multi-round", "sep-2322-multi-round-r1"),
    ("input-required-result-tampered-state", "sep-2322-reject-tampered-state"),
    ("input-required-result-missing-input-response", "sep-2322-missing-response-rerequests"),
    ("server-stateless", "sep-2575-server-sends-tools-list-changed-on-subscription"),
}
"""Checks that call a tool which is not there, and say of it only that the answer is not the tool's."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet whose gateway asks for no token, with the suite's fixtures as a server of it."""
    one = Fleet(tmp_path_factory.mktemp("conformance"))
    port, own = free_port(), free_port()
    home = one.path / "fixture"
    home.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.e2e.gateway.front_server",
        str(home),
        "--open",
        "--port",
        str(own),
    ]
    fixture = {"command": command, "port": own, "probes": {"readiness": {"tcp": own}}}
    mcp = {"http": port, "auth": "none"}
    one.write({"web": {"command": SLEEP}, "fixture": fixture}, mcp=mcp)
    servers = {"fixture": {"url": f"http://127.0.0.1:{own}/mcp"}}
    path = one.path / "claude_mcp_config.json"
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    try:
        one.up()
        one.url = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
        yield one
        one.ok("down")
    finally:
        one.end()
    until(lambda: not one.processes(), "nothing is left")


def baseline() -> dict[str, str]:
    """Return the reason of each scenario that may fail."""
    text = BASELINE.read_text(encoding="utf-8")
    return dict(re.findall(r"^  - ([\w-]+)  # (.+)$", text, re.MULTILINE))


def test_every_line_of_the_baseline_has_a_reason() -> None:
    rows = [row for row in BASELINE.read_text(encoding="utf-8").splitlines() if row.startswith("  - ")]
    assert len(baseline()) == len(rows) > 0


@pytest.mark.parametrize("revision", REQUIRED)
def test_the_control_endpoint_conforms_but_for_fixtures_that_it_has_not(
    fleet: Fleet, tmp_path: Path, revision: str
) -> None:
    url = f"{fleet.url}/mcp"  # type: ignore[attr-defined]
    verdict = run_suite(url, revision, tmp_path, "--expected-failures", str(BASELINE))
    assert verdict.status == 0, verdict.said
    assert verdict.scenarios >= REQUIRED[revision]
    assert verdict.failed - TASKS <= baseline().keys()
    counted = [one for one in verdict.checks if one.scenario not in TASKS]
    assert counted
    others = [
        one for one in counted if not MISSING.search(one.message) and (one.scenario, one.name) not in MISSED
    ]
    assert others == []


@pytest.mark.parametrize("revision", REQUIRED)
def test_a_server_behind_the_gateway_conforms(fleet: Fleet, tmp_path: Path, revision: str) -> None:
    verdict = run_suite(f"{fleet.url}/s/fixture/mcp", revision, tmp_path)  # type: ignore[attr-defined]
    assert verdict.status == 0, verdict.said
    assert verdict.failed == (TASKS if revision == "2026-07-28" else set()), verdict.said
    assert verdict.scenarios >= REQUIRED[revision]
