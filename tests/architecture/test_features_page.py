"""docs/features.md says nothing that is not there: commands, options, keys, values, routes, pages, tests."""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from orchestra_supervisor.cli.catalog import COMMANDS
from orchestra_supervisor.cli.parser import CommandParser
from orchestra_supervisor.config.schema import fleet_schema

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "features.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith("|--")]
KEY = re.compile(r"[a-z]\w*(\.(\*|\w+))*")
"""What is written like a key has to be one."""


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def key_paths(part: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key in a part of the schema; `*` stands for a name that the user gives."""
    if isinstance(part, list):
        for one in cast("list[object]", part):
            yield from key_paths(one, path)
    if not isinstance(part, dict):
        return
    node = cast("dict[str, dict[str, object]]", part)
    if "$ref" in node:
        yield from key_paths(definitions()[str(node["$ref"]).rpartition("/")[2]], path)
    for name, member in node.get("properties", {}).items():
        yield (*path, name)
        yield from key_paths(member, (*path, name))
    for member in node.get("patternProperties", {}).values():
        yield from key_paths(member, (*path, "*"))
    for several in ("anyOf", "oneOf", "allOf", "items"):
        yield from key_paths(node.get(several), path)


@cache
def definitions() -> dict[str, object]:
    return cast("dict[str, object]", fleet_schema()["$defs"])


@cache
def all_keys() -> frozenset[tuple[str, ...]]:
    return frozenset(key_paths(fleet_schema()))


def is_key(span: str) -> bool:
    wanted = tuple(span.split("."))
    return any(path[-len(wanted) :] == wanted for path in all_keys())


def is_value(span: str) -> bool:
    return span in json.dumps(fleet_schema())


def is_target(name: str) -> bool:
    return f"\n{name}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


@cache
def options_of(verb: str) -> frozenset[str]:
    parser = CommandParser(verb)
    import_module(f"orchestra_supervisor.cli.commands.{COMMANDS[verb].module}").configure(parser)
    return frozenset(flag for one in parser.declared for flag in one.flags) | {"-h", "--help"}


@cache
def described() -> frozenset[str]:
    """Return what the reference pages have in backticks."""
    pages = ("configuration.md", "cli.md", "control-api.md")
    return frozenset(span for page in pages for span in spans((DOCS / page).read_text(encoding="utf-8")))


def faults(row: str) -> Iterator[str]:
    """Yield what a row names and nobody knows. An option belongs to the command named last before it."""
    verb = ""
    for span in spans(row):
        first, *rest = span.split()
        match first:
            case "orchestra":
                verb = rest[0] if rest else ""
                is_known = verb in COMMANDS
            case "make":
                is_known = is_target(rest[0])
            case _ if first.startswith("-"):
                is_known = verb in COMMANDS
            case _ if first.startswith('"'):
                is_known = is_value(span)
            case _ if KEY.fullmatch(span):
                is_known = is_key(span)
            case _:
                is_known = span in described()
        if not is_known:
            yield f"`{span}`"
        elif verb in COMMANDS:
            options = {word for word in (first, *rest) if word.startswith("-")}
            yield from (f"`{option}` of {verb}" for option in options - options_of(verb))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_row_names_only_what_exists(row: str) -> None:
    assert list(faults(row)) == []


@pytest.mark.parametrize(
    "row",
    [
        "`orchestra frobnicate`",
        "`orchestra logs --frobnicate`",
        "`orchestra logs -f`, `--frobnicate`",
        "`restart.frobnicate`",
        "`log.max_restarts`",
        "`frobnicate`",
        '`"frobnicate"`',
        "`GET /v1/frobnicate`",
        "`make frobnicate`",
        "`$FROBNICATE`",
    ],
)
def test_a_row_that_names_something_else_is_found(row: str) -> None:
    assert list(faults(row))


def test_every_row_gives_one_of_three_answers() -> None:
    table = PAGE.partition("## What people complain about")[0]
    answers = [line.split("|")[2].strip() for line in table.splitlines() if line.startswith("|")]
    assert set(answers) == {"", "---", "yes", "*partly*", "**no**"}


@pytest.mark.parametrize(
    ("text", "target"), sorted(set(re.findall(r"\[([^\]`]+)\]\(([^)]+)\)", PAGE))), ids=lambda part: part
)
def test_a_link_leads_to_a_page_or_to_the_test_that_it_is_named_after(text: str, target: str) -> None:
    file = DOCS / target
    assert file.is_file()
    if file.name.startswith("test_"):
        assert f"def test_{text.replace(' ', '_')}(" in file.read_text(encoding="utf-8")
