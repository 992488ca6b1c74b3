"""`upgrade-daemon`: other code in the daemon's place, and what is said when it does not come."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import ROOT, Fleet, python

SLEEP = python("import time; time.sleep(1000)")


@pytest.mark.slow
def test_the_next_daemon_has_the_new_code_and_every_service_its_pid(fleet: Fleet, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    package = tree / "orchestra_supervisor"
    shutil.copytree(ROOT / "orchestra_supervisor", package, ignore=shutil.ignore_patterns("__pycache__"))
    fleet.write({"a": {"command": SLEEP}, "b": {"command": SLEEP}})
    fleet.up(PYTHONPATH=str(tree))
    pids = {name: fleet.pid(name) for name in ("a", "b")}

    version = package / "_version.py"
    text = version.read_text(encoding="utf-8")
    version.write_text('VERSION = "9.9.9"\n__all__ = ["VERSION"]\n', encoding="utf-8")
    said = fleet.ok("upgrade-daemon")
    assert "(9.9.9) in" in said
    assert "no service was restarted: 2 run on" in said

    version.write_text("raise SystemExit('this version does not start')\n", encoding="utf-8")
    failed = fleet.run("upgrade-daemon", "--timeout", "1.5")
    assert failed.returncode == 1
    assert "this version does not start" in failed.stderr
    assert "the next daemon does not answer" in failed.stderr
    assert "hint: services run on" in failed.stderr

    version.write_text(text, encoding="utf-8")
    answer = json.loads(fleet.ok("upgrade-daemon", "--json"))
    assert (answer["before"], answer["replaced"]) == (None, [])
    assert {name: fleet.pid(name) for name in pids} == pids


def test_without_a_fleet_there_is_nothing_to_replace(fleet: Fleet) -> None:
    fleet.home.mkdir()
    done = fleet.run("upgrade-daemon")
    assert done.returncode == 4
    assert "no fleet runs on" in done.stderr
