"""Completion in the shells themselves, those that are here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra_supervisor.cli.catalog import COMMANDS
from tests.e2e.cli import shapes
from tests.e2e.cli.fake_control import holding_lock, serving
from tests.e2e.cli.runner import LIMIT, ROOT, environment, orchestra

BASH = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_orchestra
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compadd() {
  local lead=
  while [[ $1 != -- ]]; do [[ $1 == -P ]] && lead=$2; shift; done
  shift
  for word in "$@"; do [[ $lead$word == ${words[CURRENT]}* ]] && print -r -- $lead$word; done
}
_files() { print -rl -- files "$@" }
compdef() { }
source "$1"; shift
words=("$@") CURRENT=$#
_orchestra
"""
FISH = """
source $argv[1]
complete -C "$argv[2]" | string replace -r '\\t.*' ''
"""


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> "Shell":
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return Shell(request.param, tmp_path)


class Shell:
    """A shell that knows the script, in a folder with a home of three services."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        home = path / ".orchestra"
        home.mkdir()
        layout = {"log_directory": "logs", "services": ["web", "worker", "db"], "control": "control.sock"}
        (home / "layout.json").write_text(json.dumps(layout), encoding="utf-8")
        (path / "bin").mkdir()
        command = path / "bin" / "orchestra"
        command.write_text(
            f'#!/bin/sh\nexec {sys.executable} -P -m orchestra_supervisor "$@"\n', encoding="utf-8"
        )
        command.chmod(0o755)
        self.script = path / "script"
        self.script.write_text(orchestra("completion", name, cwd=path).stdout, encoding="utf-8")
        (path / "fleet.json").write_text("{}", encoding="utf-8")

    def offers(self, *words: str) -> list[str]:
        """Return what is offered for the last word of a command line."""
        line = ["orchestra", *words]
        argv = {
            "bash": ["bash", "--norc", "-c", BASH, "bash", self.script, *line],
            "zsh": ["zsh", "-f", "-c", ZSH, "zsh", self.script, *line],
            "fish": ["fish", "--no-config", "-c", FISH, self.script, " ".join(line)],
        }[self.name]
        env = environment(HOME=str(self.path), PYTHONPATH=str(ROOT))
        env["PATH"] = f"{self.path / 'bin'}:{env['PATH']}"
        done = subprocess.run(
            argv, cwd=self.path, env=env, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False
        )
        assert done.stderr == ""
        return sorted(done.stdout.split())


@pytest.mark.slow
def test_commands_options_values_and_names_are_offered(shell: Shell) -> None:
    assert set(COMMANDS) <= set(shell.offers(""))
    assert shell.offers("sta") == ["start", "status"]
    assert {"--for", "--timeout", "--json"} <= set(shell.offers("wait", "--"))
    assert "--follow" not in shell.offers("wait", "--")
    assert shell.offers("wait", "all", "--for", "") == ["completed", "ready", "stopped"]
    assert shell.offers("stop", "w") == ["web", "worker"]
    assert set(shell.offers("help", "re")) == {"reload", "restart"}


@pytest.mark.slow
def test_another_home_and_lists_are_followed(shell: Shell) -> None:
    if shell.name == "fish":
        pytest.skip("fish asks for the names of the present folder's home, and completes whole words")
    assert shell.offers("stop", "db,w") == ["db,web", "db,worker"]
    other = shell.path / "other"
    other.mkdir()
    (other / "layout.json").write_text('{"services": ["far"]}', encoding="utf-8")
    assert shell.offers("--home", str(other), "stop", "") == ["far"]
    assert shell.offers("stop", "--home", str(other), "") == ["far"]


@pytest.mark.slow
def test_files_are_offered_where_a_file_is_wanted(shell: Shell) -> None:
    found = shell.offers("check", "fleet")
    assert found in (["fleet.json"], ["files"])


def test_names_come_from_the_daemon_where_the_file_is_not_ours_to_read(tmp_path: Path) -> None:
    home = tmp_path / ".orchestra"
    home.mkdir()
    assert orchestra("completion", "names", cwd=tmp_path).stdout == ""
    status = shapes.status("/h", [shapes.service("web"), shapes.service("db")])
    with holding_lock(home), serving(home / "control.sock", lambda *_: (200, status)):
        assert orchestra("completion", "names", cwd=tmp_path).stdout == "web\ndb\n"


def test_a_shell_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path) -> None:
    done = orchestra("completion", "csh", cwd=tmp_path)
    assert done.returncode == 2
    assert "bash" in done.stderr
