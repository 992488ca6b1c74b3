"""Services start when what they depend on is there, and stop before it goes."""

import time
from collections.abc import Sequence

import pytest

from tests.e2e.fleet_driver import Fleet, Row, python, until

STAY = "import os, signal\nos.write(1, b'here\\n')\nsignal.pause()\n"
SLOW_STOP = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(0)))
os.write(1, b"here\\n")
signal.pause()
"""


def order(events: Sequence[Row]) -> dict[tuple[str, str], int]:
    """Return the place of the first event of each (kind, service)."""
    places: dict[tuple[str, str], int] = {}
    for place, event in enumerate(events):
        places.setdefault((event["kind"].removeprefix("service."), event["service"]), place)
    return places


def test_a_fleet_starts_in_order_and_side_by_side_and_stops_in_reverse(fleet: Fleet) -> None:
    ready = {"readiness": {"command": ["test", "-e", str(fleet.path / "open")], "period": "20ms"}}
    fleet.write(
        {
            "job": {"kind": "once", "command": python("import time; time.sleep(0.3)")},
            "base": {"command": python(SLOW_STOP), "depends_on": {"job": "completed"}, "probes": ready},
            "early": {"command": python(STAY), "depends_on": {"base": "started"}},
            "left": {"command": python(SLOW_STOP), "depends_on": {"base": "ready"}},
            "right": {"command": python(SLOW_STOP), "depends_on": ["base"]},
            "top": {"command": python(SLOW_STOP), "depends_on": ["left", "right"]},
        }
    )
    fleet.run("up", "--detach", "--timeout", "0.1")
    fleet.until_state("early", "ready")
    assert fleet.service("base")["state"] == "running"
    left = fleet.service("left")
    assert (left["state"], left["waiting_for"]) == ("waiting", ["base"])
    assert left["pid"] is None
    (fleet.path / "open").touch()
    fleet.ok("wait", "all", "--for", "ready", "--timeout", "15")
    place = order(fleet.events())
    assert place["completed", "job"] < place["starting", "base"]
    assert place["spawned", "base"] < place["starting", "early"] < place["ready", "base"]
    assert place["ready", "base"] < min(place["starting", "left"], place["starting", "right"])
    assert max(place["ready", "left"], place["ready", "right"]) < place["starting", "top"]
    for name in ("left", "right", "top"):
        fleet.until_log(name, "here")
    began = time.time()
    fleet.ok("down")
    events = _journal(fleet, began)
    place = order(events)
    assert place["stopped", "top"] < min(place["stopping", "left"], place["stopping", "right"])
    # Both are asked before either has ended: it takes each 0.3 s.
    assert max(place["stopping", "left"], place["stopping", "right"]) < place["exited", "left"]
    assert max(place["stopping", "left"], place["stopping", "right"]) < place["exited", "right"]
    assert max(place["stopped", "left"], place["stopped", "right"]) < place["stopping", "base"]
    assert place["stopped", "early"] < place["stopping", "base"]


def _journal(fleet: Fleet, since: float) -> list[Row]:
    """Return what the journal of a fleet that is down has of its services."""
    import sqlite3  # noqa: PLC0415  # one test looks into the file

    with sqlite3.connect(f"file:{fleet.home / 'journal.sqlite3'}?mode=ro", uri=True) as journal:
        journal.row_factory = sqlite3.Row
        rows = journal.execute("select * from events order by seq").fetchall()
    journal.close()
    return [row for row in map(dict, rows) if row["at"] >= since and row["kind"].startswith("service.")]


@pytest.mark.parametrize(("choice", "same", "state"), [("keep", True, "ready"), ("stop", False, "waiting")])
def test_what_happens_to_dependents_of_a_dependency_that_fails_is_as_configured(
    fleet: Fleet, choice: str, state: str, *, same: bool
) -> None:
    fleet.write(
        {
            "base": {"command": python(STAY), "restart": "never"},
            "top": {"command": python(STAY), "depends_on": {"base": {"on_failure": choice}}},
        }
    )
    fleet.up()
    base, top = fleet.pid("base"), fleet.pid("top")
    fleet.kill(base)
    fleet.until_state("base", "failed")
    row = fleet.until_state("top", state)
    assert (row["pid"] == top) == same
    fleet.client.start(["base"])
    assert (fleet.until_state("top", "ready")["pid"] == top) == same


def test_a_dependent_restarts_once_its_dependency_is_back(fleet: Fleet) -> None:
    fleet.write(
        {
            "base": {"command": python(STAY), "restart": "always"},
            "top": {"command": python(STAY), "depends_on": {"base": {"on_failure": "restart"}}},
        }
    )
    fleet.up()
    base, top = fleet.pid("base"), fleet.pid("top")
    fleet.kill(base)
    assert until(lambda: fleet.service("top")["pid"] not in {top, None}, "top has a new process")
    assert fleet.until_state("top", "ready")
    assert fleet.pid("base") != base
    place = order([e for e in fleet.events() if e["kind"] != "service.ready" or e["service"] == "base"][-40:])
    assert place["exited", "base"] < place["stopping", "top"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"command": ["/nonexistent/program"], "restart": "never"}, "/nonexistent/program"),
        ({"kind": "once", "command": python("raise SystemExit(3)")}, "exit code 3"),
        (
            {
                "command": python(STAY),
                "restart": "never",
                "startup_timeout": "300ms",
                "probes": {"readiness": {"command": ["false"], "period": "50ms"}},
            },
            "not ready within 0.3 s",
        ),
    ],
)
def test_a_required_service_that_cannot_start_fails_the_whole_start_and_leaves_nothing(
    fleet: Fleet, broken: dict[str, object], said: str
) -> None:
    fleet.write(
        {
            "fine": {"command": python(STAY, f"{fleet.path}/fine")},
            "needed": {**broken, "required_for_system": True, "depends_on": ["fine"]},
        }
    )
    done = fleet.run("up", "--detach")
    assert done.returncode == 1, done.stdout
    line = next((line for line in done.stderr.splitlines() if "needed" in line), None)
    assert line, done.stderr
    assert said in line
    assert "the fleet could not start, and has gone down" in done.stderr
    assert "hint:" in done.stderr
    until(lambda: not fleet.processes(), f"nothing is left; there is {fleet.processes()}")
    assert fleet.run("status").returncode == 4
