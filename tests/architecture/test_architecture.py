"""The rules of the house that a machine can hold: imports, sizes, names, docs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from orchestra_supervisor.model import errors
from orchestra_supervisor.model.errors import ERROR_KINDS, OrchestraError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "orchestra_supervisor"
LONGEST = 400
STDLIB_ONLY = {
    "keeper": {"wire", "journald", "keeper", "later"},
    "logger": {"wire", "logfile", "journald", "logger", "later"},
    "listeners": {"control_client", "control_home", "listeners", "logfile", "unix_http", "wire"},
    "wire": {"wire"},
    "logfile": {"logfile"},
    "control_client": {"unix_http"},
    "unix_http": set[str](),
    "unix_peer": set[str](),
    "mcp_tokens": set[str](),
    "journald": set[str](),
    "later": set[str](),
}
"""Rooms that import the standard library, and of ours these alone."""
CALENDAR = "orchestra_supervisor.rules.cron"
"""The rule that reckons with dates (ADR-0010): it is told the time like the others."""
WALL_CLOCK = {"clock.py"}
"""Names of modules that may ask for the time of day; the two stdlib processes may as well."""


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports_of(name: str, *, everywhere: bool = True) -> Iterator[str]:
    """Yield the names of imported modules; of `from a import b`, a.b where that is a module of ours."""
    nodes = ast.walk(tree_of(name)) if everywhere else tree_of(name).body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def in_room(room: str) -> list[str]:
    return [name for name in MODULES if name.split(".")[1:2] == [room]]


def test_imports_run_downward_by_floor() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", STDLIB_ONLY)
def test_the_rooms_that_start_alone_import_the_standard_library_only(room: str) -> None:
    assert in_room(room)
    for name in in_room(room):
        for imported in imports_of(name):
            top, *rest = imported.split(".")
            if top == "orchestra_supervisor":
                assert "".join(rest[:1]) in STDLIB_ONLY[room], f"{name} imports {imported}"
            else:
                assert top in sys.stdlib_module_names, f"{name} imports {imported}"


@pytest.mark.parametrize(
    "banned", ["anyio", "asyncio", "trio", "time", "datetime", "random", "logging", "os", "io"]
)
def test_rules_are_pure(banned: str) -> None:
    for name in in_room("rules"):
        if banned == "datetime" and name == CALENDAR:
            continue
        assert banned not in {imported.split(".")[0] for imported in imports_of(name)}, name


def test_the_calendar_asks_for_no_time_of_day() -> None:
    for node in ast.walk(tree_of(CALENDAR)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today"}, f"line {node.lineno}"


def test_rules_await_nothing_and_open_nothing() -> None:
    for name in in_room("rules"):
        for node in ast.walk(tree_of(name)):
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncWith | ast.AsyncFor), name
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"open", "print", "input"}, f"{name} calls {node.func.id}"


def test_no_two_modules_import_each_other() -> None:
    graph = {name: {one for one in imports_of(name) if one in MODULES and one != name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_short_and_says_what_it_is(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST, "ask which second concept moved in"
    docstring = ast.get_docstring(tree_of(name))
    assert docstring, "no docstring"
    if MODULES[name].name == "__init__.py":
        assert len(tree_of(name).body) == 1, "an __init__ holds a docstring and nothing else"


def public_names(name: str) -> tuple[set[str], set[str] | None]:
    """Return the public definitions of a module, and what its __all__ lists."""
    defined: set[str] = set()
    listed: set[str] | None = None
    for node in tree_of(name).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        for target in targets:
            if isinstance(target, ast.Name) and target.id == "__all__":
                assert isinstance(node, ast.Assign)
                listed = set(ast.literal_eval(node.value))
            elif isinstance(target, ast.Name):
                defined.add(target.id)
    return {one for one in defined if not one.startswith("_")}, listed


@pytest.mark.parametrize(
    "name", [name for name, path in MODULES.items() if path.name not in {"__init__.py", "__main__.py"}]
)
def test_all_lists_every_public_function_and_class_and_nothing_that_is_not_there(name: str) -> None:
    defined, listed = public_names(name)
    assert listed is not None, "no __all__"
    assert listed <= defined, f"listed and not there: {sorted(listed - defined)}"
    callables = {
        node.name
        for node in tree_of(name).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    missing = {one for one in callables & defined if one not in listed}
    assert not missing, f"public and not listed: {sorted(missing)}"


@pytest.mark.parametrize(
    "name", [name for name in MODULES if name.split(".")[1:2] not in (["keeper"], ["logger"])]
)
def test_the_time_of_day_is_read_in_one_place(name: str) -> None:
    if MODULES[name].name in WALL_CLOCK or name.split(".")[1:2] in (["cli"], ["servers"], ["logfile"]):
        return
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called = f"{node.value.id}.{node.attr}"
            assert called not in {"time.time", "datetime.now", "datetime.utcnow"}, f"line {node.lineno}"


@pytest.mark.parametrize(
    "banned", ["asyncio.create_task", "asyncio.ensure_future", "threading.Thread", "time.sleep", "subprocess"]
)
def test_the_daemon_has_no_loose_tasks_threads_or_processes(banned: str) -> None:
    rooms = (
        "daemon",
        "control",
        "engine",
        "surfaces",
        "config",
        "process",
        "probes",
        "journal",
        "plugin_api",
        "rules",
        "model",
        "watch",
    )
    exempt = {"orchestra_supervisor.plugin_api.loop"}  # where plugins run, apart from the daemon's own loop
    for name in (one for room in rooms for one in in_room(room) if one not in exempt):
        source = ast.unparse(tree_of(name))
        top, _, attribute = banned.partition(".")
        if attribute:
            assert f"{banned}(" not in source, name
        else:
            assert top not in set(imports_of(name)), name


def test_every_error_has_a_code_of_the_table_and_every_code_its_line_in_the_docs() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for code, kind in ERROR_KINDS.items():
        assert f"| `{code}` | {kind.http} | {kind.exit} | {kind.meaning} |" in page
    classes = [
        one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, OrchestraError)
    ]
    assert len(classes) > 10
    assert {one.code for one in classes} <= set(ERROR_KINDS)
    codes = [one.code for one in classes]
    assert len(codes) == len(set(codes)), "a code means one error"


def test_every_module_of_the_pure_core_has_a_test_of_its_own() -> None:
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    covered_by = {
        "moves": "test_lifecycle",
        "verdicts": "test_lifecycle",
        "inputs": "test_lifecycle_laws",
        "due": "test_planning",
    }
    for name in in_room("rules"):
        stem = name.split(".")[-1]
        if stem != "rules":
            assert covered_by.get(stem, f"test_{stem}") in tests, name


def test_modules_import_of_each_other_only_what_is_public() -> None:
    listed = {name: public_names(name)[1] or set() for name in MODULES}
    for name in MODULES:
        for node in ast.walk(tree_of(name)):
            if not isinstance(node, ast.ImportFrom) or node.module not in MODULES:
                continue
            for alias in node.names:
                if f"{node.module}.{alias.name}" not in MODULES and not alias.name.startswith("__"):
                    assert alias.name in listed[node.module], f"{name} takes {alias.name} of {node.module}"
