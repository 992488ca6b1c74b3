"""Exit statuses and documents agree with the one table of errors."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.cli.catalog import COMMANDS
from orchestra_supervisor.cli.errors import ActionFailed, exit_status_of, tell_error
from orchestra_supervisor.cli.parser import CommandParser
from orchestra_supervisor.cli.words import UsageError
from orchestra_supervisor.control_client import ControlError, NoDaemon
from orchestra_supervisor.model.errors import ERROR_KINDS, ConflictError

ROOT = Path(__file__).resolve().parents[3]


def test_docs_errors_has_every_code_with_its_statuses() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (.+) \|$", text, re.MULTILINE)
    assert [(code, int(http), int(status), meaning) for code, http, status, meaning in rows] == [
        (code, kind.http, kind.exit, kind.meaning) for code, kind in ERROR_KINDS.items()
    ]


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_docs_cli_has_every_command_and_option(verb: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = re.search(rf"^### `orchestra {verb}\b.*?(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/cli.md has no section on {verb}"
    parser = CommandParser(verb)
    import_module(f"orchestra_supervisor.cli.commands.{COMMANDS[verb].module}").configure(parser)
    missing = [
        name
        for name in parser.option_names
        if name not in {"--help", "--home"} and f"`{name}" not in section[0]
    ]
    assert not missing


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (
            UsageError("no such thing", "try another"),
            2,
            "orchestra: error: no such thing\n  hint: try another\n",
        ),
        (ConflictError("held by 7"), 8, "orchestra: error: held by 7\n"),
        (ActionFailed("web failed", hint="see logs"), 1, "orchestra: error: web failed\n  hint: see logs\n"),
        (
            NoDaemon("nobody"),
            4,
            "orchestra: error: nobody\n  hint: start a fleet on this home with `orchestra up`\n",
        ),
        (
            ControlError("config", "a.json:3: \x1b[2J", "fix it"),
            3,
            "orchestra: error: a.json:3: ^[[2J\n  hint: fix it\n",
        ),
        (ControlError("from_the_future", "new"), 1, "orchestra: error: new\n"),
        (
            OSError(28, "No space left on device", "/h/x"),
            1,
            "orchestra: error: /h/x: No space left on device\n",
        ),
    ],
)
def test_an_error_is_one_line_a_hint_and_a_status(
    error: Exception,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert tell_error(error) == status
    assert capsys.readouterr() == ("", said)


def test_a_fault_of_ours_can_be_traced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRA_TRACEBACK", "1")
    assert tell_error(ZeroDivisionError("division")) == exit_status_of("internal") == 1
    said = capsys.readouterr().err
    assert "a fault in this program: ZeroDivisionError: division" in said
    assert said.rstrip().endswith("ZeroDivisionError: division")
