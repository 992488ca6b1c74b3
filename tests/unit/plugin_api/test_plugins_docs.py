"""docs/plugins.md against the code: every hook and member with its exact signature, and the example."""

import inspect
import json
import re
from pathlib import Path

import pytest

from orchestra_supervisor.plugin_api import hooks
from orchestra_supervisor.plugin_api.hooks import HOOKS, RESERVED

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def signature(name: str, function: object) -> str:
    """Return a signature as the page writes it: names without their modules."""
    assert callable(function)
    text = re.sub(r"[a-z_]+(?:\.[a-z_]+)*\.(?=[A-Z])", "", str(inspect.signature(function)))
    return f"{name}{text}"


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_on_the_page_with_its_exact_signature(name: str) -> None:
    assert f"| `{signature(name, getattr(hooks, name))}` |" in DOCS


def test_the_page_has_no_hook_that_is_not_there() -> None:
    told = set(re.findall(r"`(register_\w+)", DOCS))
    assert told == set(HOOKS) | RESERVED
    specs = {name for name in vars(hooks) if name.startswith("register_")}
    assert specs == set(HOOKS)


@pytest.mark.parametrize("protocol", [protocol for protocol, _ in HOOKS.values()])
def test_every_member_of_a_protocol_is_on_the_page(protocol: type) -> None:
    section = DOCS.partition(f"### {protocol.__name__}\n")[2].partition("\n##")[0]
    assert section
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            assert f"| `{name}` |" in section
        else:
            prefix = "async " if inspect.iscoroutinefunction(member) else ""
            assert f"| `{prefix}{signature(name, member)}` |" in section


def test_the_example_is_the_plugin_of_the_repository_word_for_word() -> None:
    [example] = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    assert example == (ROOT / "plugins" / "example_uptime.py").read_text(encoding="utf-8")


def test_the_json_of_the_page_is_json() -> None:
    for example in re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL):
        assert json.loads(example)["settings"]["plugins"]


def test_every_plugin_of_the_repository_is_on_the_page() -> None:
    for path in (ROOT / "plugins").glob("*.py"):
        assert f"| `{path.name}` |" in DOCS
