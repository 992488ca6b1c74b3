"""`graph` with a daemon and without one."""

import json
from pathlib import Path

from inline_snapshot import snapshot

from tests.e2e.cli import shapes
from tests.e2e.cli.fake_control import holding_lock, serving
from tests.e2e.cli.runner import orchestra


def home_of(folder: Path) -> Path:
    """Make a home whose fleet was applied: web needs db ready, and setup completed."""
    home = folder / ".orchestra"
    home.mkdir()
    needs = {"db": {"condition": "ready"}, "setup": {"condition": "completed"}}
    services = {"web": {"depends_on": needs}, "db": {"depends_on": {}}, "setup": {"depends_on": {}}}
    (home / "fleet.json").write_text(json.dumps({"services": services}), encoding="utf-8")
    return home


def test_states_are_the_daemons_and_conditions_those_of_the_applied_fleet(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    rows = [
        shapes.service("web", "waiting", depends_on=["db", "setup"], waiting_for=["db"]),
        shapes.service("db", "starting"),
        shapes.service("setup", "completed"),
        shapes.service("other"),
    ]
    with holding_lock(home), serving(home / "control.sock", lambda *_: (200, shapes.status("/h", rows))):
        done = orchestra("graph", "db", cwd=tmp_path)
        picture = orchestra("graph", "--format", "svg", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == snapshot("""\
◌ web  waiting
└─ ◔ db  starting  needed ready, waited for
""")
    assert picture.stdout.startswith("<svg ")
    assert "web needs db ready, and waits for it" in picture.stdout


def test_without_a_fleet_the_dependencies_last_applied_are_shown_and_that_is_said(tmp_path: Path) -> None:
    home_of(tmp_path)
    done = orchestra("graph", cwd=tmp_path)
    assert done.returncode == 0
    assert "as they were last applied, without states" in done.stderr
    assert done.stdout.splitlines()[0] == "web"
    dot = orchestra("graph", "--format", "dot", cwd=tmp_path)
    assert '"web" -> "setup" [style=dashed, label="completed"];' in dot.stdout


def test_a_home_that_knows_nothing_is_no_fleet(tmp_path: Path) -> None:
    done = orchestra("graph", cwd=tmp_path)
    assert done.returncode == 4
    assert "no fleet runs on" in done.stderr
