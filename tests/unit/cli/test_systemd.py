"""`orchestra systemd`: print, install and export, as `main` runs it; systemd's own tools are stand-ins."""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from orchestra_supervisor.cli.main import main
from tests.e2e.cli.runner import ROOT, orchestra

SYSTEMCTL = """#!/bin/sh
case "$*" in
  --version) echo "systemd 255 (255.4)" ;;
  *is-system-running) echo "$MANAGER" ;;
  *) echo "$@" >> "$CALLS" ; test "$*" != "$FAILS" ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a fleet, and a systemctl of version 255 that writes down what it is asked."""
    services = {
        "db": {"command": ["sleep", "100"], "stop": {"grace": "90s"}},
        "api": {"command": "exec sleep $N", "depends_on": ["db"], "env": {"KEY": "secret:api.key"}},
    }
    (tmp_path / "orchestra.json").write_text(json.dumps({"services": services}), encoding="utf-8")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL, encoding="utf-8")
    (tools / "systemctl").chmod(0o755)
    return tmp_path


class Run(Protocol):
    """Runs a command in the folder."""

    def __call__(self, *words: str, **env: str) -> "Done": ...


class Done(NamedTuple):
    """What a command had to say."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command in the folder, with its systemctl first on PATH."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("ORCHESTRA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{place / 'tools'}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(place / "calls"))

    def command(*words: str, **env: str) -> Done:
        for name, value in ({"MANAGER": "running", "FAILS": ""} | env).items():
            monkeypatch.setenv(name, value)
        status = main(["systemd", *words])
        return Done(status, *capfd.readouterr())

    return command


def test_the_unit_starts_this_very_interpreter_on_these_very_files(place: Path, run: Run) -> None:
    done = run("print", "--home", "state")
    assert done.returncode == 0, done.stderr
    command = f"{sys.executable} -P -m orchestra_supervisor up --exec -c {place}/orchestra.json"
    assert f"ExecStart={command} --home {place}/state\n" in done.stdout
    assert f"WorkingDirectory={place}\n" in done.stdout
    assert "Type=notify-reload\n" in done.stdout, "systemctl says that it is 255"
    assert "TimeoutStopSec=125\n" in done.stdout, "90 s and 10 s along the chain, and our own end"


def test_the_version_of_another_host_can_be_given(run: Run) -> None:
    done = run("print", "--systemd-version", "250")
    assert "Type=notify\n" in done.stdout
    assert "ExecReload=/bin/kill -HUP $MAINPID\n" in done.stdout


def test_an_installed_unit_is_whole_and_the_commands_to_enable_it_are_told(place: Path, run: Run) -> None:
    target = place / "deep" / "units"
    done = run("install", "--directory", str(target), "--name", "ai", "--user")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable ai.service",
        "systemctl --user start ai.service",
    ]
    assert [file.name for file in target.iterdir()] == ["ai.service"]
    text = (target / "ai.service").read_text(encoding="utf-8")
    assert "WantedBy=default.target\n" in text
    assert text == run("print", "--name", "ai", "--user").stdout
    assert "unchanged" in run("install", "--directory", str(target), "--name", "ai", "--user").stderr
    assert not (place / "calls").exists(), "nothing was asked of a manager"


def test_a_file_that_differs_is_shown_and_replaced_only_by_force(place: Path, run: Run) -> None:
    unit = place / "orchestra.service"
    unit.write_text("[Service]\nExecStart=/bin/mine\n", encoding="utf-8")
    done = run("install", "--directory", str(place))
    assert done.returncode == 8
    assert "-ExecStart=/bin/mine" in done.stderr
    assert "hint: --force" in done.stderr
    assert "mine" in unit.read_text(encoding="utf-8")
    assert run("install", "--directory", str(place), "--force").returncode == 0
    assert "mine" not in unit.read_text(encoding="utf-8")


def test_enable_asks_the_manager_in_order_and_only_one_that_answers(place: Path, run: Run) -> None:
    words = ("install", "--directory", str(place / "units"), "--enable")
    silent = run(*words, MANAGER="offline")
    assert (silent.returncode, "no systemd manager answers" in silent.stderr) == (1, True)
    assert not (place / "calls").exists()
    assert run(*words).returncode == 0
    calls = (place / "calls").read_text(encoding="utf-8").splitlines()
    assert calls == ["daemon-reload", "enable orchestra.service", "start orchestra.service"]
    failed = run(*words, FAILS="start orchestra.service")
    assert failed.returncode == 1
    assert "`systemctl start orchestra.service` failed with status 1" in failed.stderr


def test_an_export_writes_a_unit_for_each_service_and_says_what_is_lost(place: Path, run: Run) -> None:
    done = run("export", "units", "--name", "ai")
    assert done.returncode == 0, done.stderr
    files = {file.name: file.read_text(encoding="utf-8") for file in (place / "units").iterdir()}
    assert set(files) == {"ai-db.service", "ai-api.service", "ai.target"}
    assert 'ExecStart=/bin/sh -c "exec sleep $$N"\n' in files["ai-api.service"]
    assert "RestartSteps=" in files["ai-api.service"]
    assert "3 of 3 files written" in done.stderr
    assert "api: KEY is the file $CREDENTIALS_DIRECTORY/api.key" in done.stderr
    (place / "units" / "ai.target").write_text("mine", encoding="utf-8")
    (place / "units" / "ai-db.service").unlink()
    assert run("export", "units", "--name", "ai").returncode == 8
    assert not (place / "units" / "ai-db.service").exists(), "all of them or none"


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["print", "somewhere"], 2, "export needs a directory"),
        (["export"], 2, "export needs a directory"),
        (["print", "--enable"], 2, "belong to install"),
        (["print", "--name", "a/b"], 2, "no name for a unit"),
        (["print", "--as", "no-such-user-here"], 2, "there is no user"),
        (["print", "--as", "root", "--user"], 2, "exclude each other"),
        (["dance"], 2, "unknown action 'dance'"),
        (["print", "-c", "missing.json"], 2, "does not exist"),
        (["print", "-c", "broken.json"], 3, "broken.json"),
        (["install", "--directory", "orchestra.json"], 1, "cannot write"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_hint(
    place: Path, run: Run, words: list[str], status: int, text: str
) -> None:
    (place / "broken.json").write_text('{"services": {"a": {}}}', encoding="utf-8")
    done = run(*words)
    assert (done.returncode, text in done.stderr) == (status, True), done.stderr
    assert "hint:" in done.stderr
    assert not done.stdout


def test_a_package_that_the_interpreter_does_not_find_is_named_in_the_unit(place: Path, run: Run) -> None:
    done = run("print")
    found = orchestra("version", cwd=place, PYTHONPATH="")
    assert (f"Environment=PYTHONPATH={ROOT}\n" in done.stdout) == (found.returncode != 0)
