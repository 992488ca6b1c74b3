"""Reloads of a large fleet of real processes: what changed restarts, and nothing else notices."""

import json
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, Row, until

SERVICES = 200

pytestmark = pytest.mark.slow


def write(path: Path, changed: dict[str, str] | None = None) -> str:
    """Write a fleet of sleepers, one a line; return the text."""
    lines = [
        f'"s{number}": {{"command": ["sleep", "1000"], "env": {json.dumps(changed or {"LEVEL": "info"})}}}'
        if number == 77
        else f'"s{number}": {{"command": ["sleep", "1000"], "env": {{"LEVEL": "info"}}}}'
        for number in range(SERVICES)
    ]
    text = '{"services": {\n' + ",\n".join(lines) + "\n}}\n"
    path.write_text(text, encoding="utf-8")
    return text


def runs(status: dict[str, Row]) -> dict[str, tuple[object, object]]:
    return {name: (row["pid"], row["run"]) for name, row in status.items()}


def test_one_changed_value_among_two_hundred_services_is_one_restart(fleet: Fleet) -> None:
    file = fleet.path / "orchestra.json"
    write(file)
    fleet.up()
    before = runs(fleet.status())
    assert len(before) == SERVICES
    assert fleet.run("plan").returncode == 0

    write(file, {"LEVEL": "debug", "API_TOKEN": "hunter2"})
    plan = fleet.run("plan")
    assert plan.returncode == 10, plan.stderr
    assert "s77  restarts" in plan.stdout
    assert "info → debug" in plan.stdout
    assert "orchestra.json:79" in plan.stdout
    assert "(not set) → ***" in plan.stdout
    assert "hunter2" not in plan.stdout + fleet.run("plan", "--json").stdout
    assert runs(fleet.status()) == before, "a plan changes nothing"

    done = fleet.ok("reload")
    assert "s77  restarted" in done
    assert f"{SERVICES - 1} untouched" in done
    until(lambda: fleet.service("s77")["run"] not in {None, before["s77"][1]}, "s77 has a new run")
    fleet.until_state("s77", "ready")
    after = runs(fleet.status())
    assert [name for name in before if after[name] != before[name]] == ["s77"]
    restarts = {name: row["restarts"] for name, row in fleet.status().items()}
    assert restarts == {name: int(name == "s77") for name in before}

    text = write(file, {"LEVEL": "warn"})
    file.write_text(text.replace('"s150": {', '"s150": {{'), encoding="utf-8")
    for words in (("plan",), ("reload",), ("reload", "--dry-run")):
        refused = fleet.run(*words)
        assert refused.returncode == 3
        assert "orchestra.json:152" in refused.stderr
        assert "hint:" in refused.stderr
    assert runs(fleet.status()) == after
    (event,) = fleet.events("config.refused")
    assert "orchestra.json:152" in event["message"]
    assert "hunter2" not in json.dumps(fleet.events("config."))


def test_a_daemon_killed_in_a_reload_leaves_a_fleet_that_the_next_one_brings_to_its_files(
    fleet: Fleet,
) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]
    stop = {"grace": 1}
    fleet.write({"one": {"command": stubborn, "stop": stop}, "two": {"command": ["sleep", "1000"]}})
    fleet.up()
    fleet.until_log("one", "up")
    one, two = fleet.pid("one"), fleet.pid("two")
    fleet.write(
        {
            "one": {"command": stubborn, "stop": stop, "env": {"A": "1"}},
            "three": {"command": ["sleep", "1000"]},
        }
    )
    fleet.kill(fleet.keeper, 1)
    fleet.until_event("config.reloaded")
    fleet.kill_daemon()
    until(lambda: fleet.service("one")["pid"] not in {None, one}, "one has a new run")
    until(lambda: set(fleet.status()) == {"one", "three"}, "two is gone")
    fleet.until_state("three", "ready")
    assert two not in {row["pid"] for row in fleet.status().values()}
    assert fleet.run("plan").returncode == 0
