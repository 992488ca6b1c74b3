"""docs/mcp-tools.md and the tools say the same."""

import re
from pathlib import Path

from orchestra_supervisor.gateway.control.diagnosis import diagnose as diagnosis
from orchestra_supervisor.gateway.control.diagnosis import lifecycle, outside
from orchestra_supervisor.gateway.control.endpoint import Settings, make_control
from orchestra_supervisor.gateway.control.prompts import list_prompts
from orchestra_supervisor.gateway.endpoint import Caller, Era, Role

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "mcp-tools.md").read_text(encoding="utf-8")
TOOL_ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*)$", PAGE.split("### Diagnosis")[0], re.MULTILINE))


def test_every_tool_and_argument_is_on_the_page_and_nothing_else(tmp_path: Path) -> None:
    endpoint = make_control(tmp_path, Settings(config_apply=True))
    caller = Caller("x", Role.ADMIN, Era.STATELESS, "2026-07-28")
    tools = {tool.name: tool for tool in endpoint._tools_of(caller)}
    assert set(tools) == set(TOOL_ROWS)
    arguments = {name: set(tool.input["properties"]) for name, tool in tools.items()}  # type: ignore[call-overload]
    for name, tool in tools.items():
        row = TOOL_ROWS[name]
        assert row.startswith(tool.role.name.lower())
        named = set(re.findall(r"`(\w+)`", row.split("|")[1]))
        if "as `service_start`" in row:
            named |= arguments["service_start"]
        if "as `service_stop`" in row:
            named |= arguments["service_stop"]
        assert arguments[name] <= named, name


def test_every_cause_is_on_the_page() -> None:
    codes: set[str] = set()
    for module in (lifecycle, outside, diagnosis):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        codes |= set(re.findall(r'Cause\(\s*"(\w+)"', source))
    codes |= {row[0] for row in outside._ACTIONS.values()}
    table = PAGE.split("### Diagnosis")[1].split("### Long actions")[0]
    listed = {
        code
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", row)
    }
    assert listed == codes


def test_every_prompt_is_on_the_page() -> None:
    prompts = list_prompts(Role.ADMIN)["prompts"]
    for prompt in prompts:  # type: ignore[attr-defined]
        assert f"`{prompt['name']}`" in PAGE
