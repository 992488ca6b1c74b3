import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.later import put_off, put_off_inspect, stand_in

TEXT = """
import itertools
import put_off_trial
loads.append(__name__)
gate.wait(5)
itself = put_off_trial
value = 7
"""


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Put a module off, and give the list in which it writes when it is loaded."""
    found: list[str] = []
    gate = threading.Event()
    gate.set()
    monkeypatch.setattr("builtins.loads", found, raising=False)
    monkeypatch.setattr("builtins.gate", gate, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "put_off_trial.py").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    put_off("put_off_trial", "put_off_that_is_nowhere")
    yield found
    sys.modules.pop("put_off_trial", None)


def test_a_module_is_loaded_when_it_is_used_and_not_when_it_is_imported(loads: list[str]) -> None:
    module = importlib.import_module("put_off_trial")
    assert importlib.import_module("put_off_trial") is module
    assert (loads, Path(module.__file__ or "").name) == ([], "put_off_trial.py")
    assert module.value == 7
    assert (loads, module.itself is module) == (["put_off_trial"], True)
    assert (type(module), type(module.__loader__).__name__) == (type(sys), "SourceFileLoader")
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        module.other  # noqa: B018
    importlib.reload(module)
    assert loads == ["put_off_trial"] * 2


def test_what_is_imported_by_name_is_there_at_once(loads: list[str]) -> None:
    names: dict[str, object] = {}
    exec("from put_off_trial import value", names)
    assert (names["value"], loads) == (7, ["put_off_trial"])


def test_a_thread_that_comes_while_another_loads_waits_for_all_of_it(loads: list[str]) -> None:
    module = importlib.import_module("put_off_trial")
    gate: threading.Event = importlib.import_module("builtins").gate
    gate.clear()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(module.value)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not loads:  # one of them is in the middle of it
        threads[0].join(0.01)
    assert found == []
    gate.set()
    for thread in threads:
        thread.join(5)
    assert (found, loads) == ([7] * 4, ["put_off_trial"])


def test_a_module_that_fails_to_load_says_so_to_whoever_uses_it(loads: list[str], tmp_path: Path) -> None:
    (tmp_path / "put_off_trial.py").write_text("raise LookupError('broken')", encoding="utf-8")
    module = importlib.import_module("put_off_trial")
    for _ in range(2):
        with pytest.raises(LookupError, match="broken"):
            module.value  # noqa: B018


@pytest.mark.usefixtures("loads")
def test_a_module_that_is_not_there_is_missed_at_once() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("put_off_that_is_nowhere")


@pytest.mark.parametrize("role", ["keeper", "logger"])
def test_neither_keeper_nor_logger_load_what_they_put_off(role: str) -> None:
    code = (
        "import runpy, sys\n"
        "try:\n    runpy.run_path(sys.argv[1], run_name='__main__')\n"
        "except SystemExit:\n    print('ast' in sys.modules)\n"
    )
    main = Path(__file__).parents[2] / "orchestra_supervisor" / role / "__main__.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(main)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=20,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False", "what `inspect` brings is not there"


def test_classes_are_made_dataclasses_without_inspect_which_is_whole_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    real = importlib.import_module("inspect")
    for name in ("inspect", "dataclasses"):
        monkeypatch.delitem(sys.modules, name)
    put_off_inspect()
    dataclasses = importlib.import_module("dataclasses")
    inspect = sys.modules["inspect"]

    @dataclasses.dataclass
    class Base:
        """One."""

        first: int

    @dataclasses.dataclass
    class Derived(Base):
        """Without a field of its own."""

    @dataclasses.dataclass
    class Last(Derived):
        """Two."""

        second: "str" = "b"

    assert [field.name for field in dataclasses.fields(Derived)] == ["first"]
    assert (Last(1), dataclasses.astuple(Last(1))) == (Last(1, "b"), (1, "b"))
    stand_in = inspect.get_annotations
    for cls in (Base, Derived, Last):
        assert stand_in(cls) == real.get_annotations(cls)
    assert type(inspect) is not type(sys), "it is not loaded"

    @dataclasses.dataclass
    class Bare:
        third: int

    assert Bare.__doc__ == "Bare(third: int)"
    assert type(inspect) is type(sys)
    assert inspect.get_annotations is not stand_in


def test_what_a_module_stands_in_for_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    stand_in("orchestra_supervisor.no_such_module", answer=7)
    assert importlib.import_module("orchestra_supervisor.no_such_module").answer == 7
