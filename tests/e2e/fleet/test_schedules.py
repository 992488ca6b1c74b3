"""Planned runs by real processes, over the death of a daemon and of the whole fleet."""

import sqlite3

import pytest

from tests.e2e.fleet_driver import Fleet, python, until

TICK = python("print('tick', flush=True)")


def ticks_of(fleet: Fleet) -> int:
    return len(fleet.log("job").splitlines())


@pytest.mark.slow
def test_runs_go_on_through_a_daemons_death_and_none_is_doubled(fleet: Fleet) -> None:
    fleet.write({"job": {"command": TICK, "schedule": "1s"}})
    fleet.up()
    for _ in range(3):
        before = ticks_of(fleet)
        until(lambda before=before: ticks_of(fleet) > before, "a planned run")
        fleet.kill_daemon()
    before = ticks_of(fleet)
    until(lambda: ticks_of(fleet) > before, "a run by the last daemon")
    report = until(lambda: fleet.service("job")["last_run"], "a run is reported")
    assert report["success"]
    assert report["planned"] <= report["started"] <= report["ended"]
    spawned = [event["at"] for event in fleet.events("service.spawned", "job")]
    assert len(spawned) <= spawned[-1] - spawned[0] + 2, "no more runs than seconds"
    fleet.ok("down")


@pytest.mark.slow
def test_a_run_is_made_by_hand_and_one_missed_in_a_downtime_is_made_up_for(fleet: Fleet) -> None:
    fleet.write({"job": {"command": TICK, "schedule": "1h"}})
    fleet.up()
    assert "completed" in fleet.ok("run", "job", "--wait", "--reason", "now")
    (event,) = fleet.events("control.run")
    assert event["data"]["reason"] == "now"
    fleet.ok("down")
    journal = sqlite3.connect(fleet.home / "journal.sqlite3")
    with journal:
        assert journal.execute("UPDATE plans SET reached = reached - 9000").rowcount == 1, "2.5 hours pass"
    journal.close()
    fleet.up()
    until(lambda: ticks_of(fleet) == 2, "the missed run")
    event = fleet.until_event("service.missed", "job")
    assert event["data"]["made_up"] == 1
    fleet.ok("down")
