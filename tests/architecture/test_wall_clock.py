"""Wall time is told, never decided by, but for cron schedules: a clock that steps changes nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "orchestra_supervisor"
ROOMS = ("rules", "engine", "probes", "process", "keeper")
CLOCKS = {"time", "datetime"}
TOLD_TO_PEOPLE = {("rules/service.py", "to_report")}
"""Where wall times are computed for a reader: the next start, as a time of day."""
BY_SCHEDULE = {"rules/schedule.py", "rules/cron.py"}
"""The rules of cron schedules, which name times of day: what a clock that is set does there is decided, and
tested in tests/unit/rules/test_schedule.py (ADR-0010)."""


def files() -> list[Path]:
    return [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]


def is_wall(node: ast.AST) -> bool:
    """True for a name, attribute, key or call that gives wall time."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str() as name):
            return name.endswith("wall") and len(name) < 30
        case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr=name)):
            return name in {"time", "time_ns", "localtime", "gmtime"}
        case _:
            return False


def uses(tree: ast.AST, where: str = "") -> Iterator[tuple[str, int]]:
    """Yield (function, line) of each comparison, computation or condition that has wall time in it."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else where
        match node:
            case ast.Compare() | ast.BinOp() | ast.AugAssign():
                parts: list[ast.AST] = [node]
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                parts = [test]
            case _:
                parts = []
        if any(is_wall(part) for one in parts for part in ast.walk(one)):
            yield inner, int(getattr(node, "lineno", 0))
        else:
            yield from uses(node, inner)


@pytest.mark.parametrize(
    "path",
    [path for path in files() if str(path.relative_to(PACKAGE)) not in BY_SCHEDULE],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_decision_has_wall_time_in_it(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    found = uses(ast.parse(path.read_text(encoding="utf-8")))
    assert [place for place in found if (name, place[0]) not in TOLD_TO_PEOPLE] == []


@pytest.mark.parametrize("room", ["rules", "engine"])
def test_rules_and_engine_are_told_the_time_and_have_no_clock_of_their_own(room: str) -> None:
    for path in sorted((PACKAGE / room).rglob("*.py")):
        if str(path.relative_to(PACKAGE)) == "rules/cron.py":
            continue  # it reckons with dates; test_architecture holds that it asks for none
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    modules = {name.name for name in names}
                case ast.ImportFrom(module=str() as module):
                    modules = {module}
                case _:
                    continue
            assert not modules & CLOCKS, f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "text",
    [
        "def f(a):\n    if a.since_wall > 3: pass",
        "def f(a):\n    return a.wall - 1",
        "def f():\n    while time.time() < 7: pass",
        "def f(a):\n    return 1 if a['started_wall'] else 2",
    ],
)
def test_the_search_sees_a_decision_by_wall_time(text: str) -> None:
    assert list(uses(ast.parse(text)))
