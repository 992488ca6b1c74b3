"""The doctor at a real fleet, and at what is left when its keeper was killed."""

import json

import pytest

from tests.e2e.fleet_driver import Fleet, python


@pytest.mark.slow
def test_a_running_fleet_is_well_and_the_orphans_of_a_killed_one_are_named(fleet: Fleet) -> None:
    fleet.write({"web": {"command": python("import time; time.sleep(1000)")}})
    fleet.up()
    page = json.loads(fleet.ok("doctor", "--json"))
    grades = {one["subject"]: one["grade"] for one in page["checks"]}
    assert page["ok"] is True
    assert (grades["processes"], grades["orphans"], grades["control socket"]) == ("ok", "ok", "ok")
    pid = fleet.pid("web")
    fleet.kill(fleet.keeper)
    done = fleet.run("doctor")
    assert done.returncode == 1
    assert f"(pid {pid}) of web" in done.stdout
    assert "hint: the next `orchestra up` ends them" in done.stdout
    assert pid in fleet.processes(), "nobody was signalled"
