"""Schedules as timers; systemd's own calendar says when they are due."""

import re
import subprocess
from pathlib import Path

import pytest

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.systemd.export import export_fleet
from orchestra_supervisor.systemd.service_unit import Place
from orchestra_supervisor.systemd.syntax import UnitText
from orchestra_supervisor.systemd.timer import add_timer, calendar_events
from tests.unit.systemd.analyze import needs_analyze, verify
from tests.unit.systemd.unit_reader import settings

BASE = "2026-01-01 00:00:00"  # a Thursday


def timer(schedule: ScheduleSpec) -> tuple[dict[str, list[str]], list[str]]:
    unit, lost = UnitText(), list[str]()
    add_timer(unit, schedule, lost.append)
    return settings(unit.render()), lost


def due(event: str, number: int) -> list[str]:
    """Return the next instants of a calendar event after BASE, by day and time."""
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={number}", f"--base-time={BASE} UTC", f"{event} UTC"],
        capture_output=True,
        encoding="utf-8",
        timeout=20,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )
    return re.findall(r"(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ (\S+ \d\d:\d\d):00 UTC", done.stdout)


@needs_analyze
@pytest.mark.parametrize(
    ("cron", "first"),
    [
        ("*/20 * * * *", ["2026-01-01 00:20", "2026-01-01 00:40", "2026-01-01 01:00"]),
        ("5/25 3,4 * * *", ["2026-01-01 03:05", "2026-01-01 03:30", "2026-01-01 03:55"]),
        ("0 12 * * mon-wed", ["2026-01-05 12:00", "2026-01-06 12:00", "2026-01-07 12:00"]),
        ("0 12 * * 7", ["2026-01-04 12:00", "2026-01-11 12:00"]),
        ("0 0 */10 * *", ["2026-01-11 00:00", "2026-01-21 00:00", "2026-01-31 00:00"]),
        ("30 1 L * *", ["2026-01-31 01:30", "2026-02-28 01:30"]),
        ("0 0 1 MAR-APR *", ["2026-03-01 00:00", "2026-04-01 00:00"]),
        ("0 6 */2 * */3", ["2026-01-03 06:00", "2026-01-07 06:00", "2026-01-11 06:00"]),
    ],
)
def test_a_timer_is_due_when_cron_would_be(cron: str, first: list[str]) -> None:
    (event,) = calendar_events(cron)
    assert due(event, len(first)) == first


@needs_analyze
def test_a_day_of_month_and_a_day_of_week_are_either_of_them() -> None:
    events = calendar_events("0 0 13 * FRI")
    assert sorted(when for event in events for when in due(event, 2)) == [
        "2026-01-02 00:00",
        "2026-01-09 00:00",
        "2026-01-13 00:00",
        "2026-02-13 00:00",
    ]


@pytest.mark.parametrize("cron", ["0 0 * * FRI#2", "0 0 1,L * *", "0 0 * * 5L", "60 0 * * *", "0 0 5-1 * *"])
def test_what_has_no_counterpart_is_told_and_never_due(cron: str) -> None:
    with pytest.raises(ValueError, match=r"no number|out of range"):
        calendar_events(cron)
    said, lost = timer(ScheduleSpec.model_construct(cron=cron))
    assert "OnCalendar" not in said
    assert "it is never due" in lost[0]


def test_an_interval_begins_with_the_fleet_and_counts_from_each_start() -> None:
    said, lost = timer(ScheduleSpec(every=90.0, jitter=5.0))
    assert said == {
        "OnActiveSec": ["90"],
        "OnUnitActiveSec": ["90"],
        "AccuracySec": ["1s"],
        "RandomizedDelaySec": ["5"],
        "FixedRandomDelay": ["yes"],
    }
    assert not lost
    assert timer(ScheduleSpec(every=90.0, on_start=True))[0]["OnActiveSec"] == ["1ms"]


def test_a_cron_expression_keeps_its_zone_and_what_it_makes_up_for() -> None:
    said, lost = timer(
        ScheduleSpec(cron="0 3 * * *", timezone="Europe/Berlin", missed="all", overlap="queue")
    )
    assert said["OnCalendar"] == ["*-*-* 3:0:00 Europe/Berlin"]
    assert said["Persistent"] == ["yes"]
    assert len(lost) == 2
    assert timer(ScheduleSpec(cron="0 3 * * *", missed="skip"))[0]["Persistent"] == ["no"]


@needs_analyze
@pytest.mark.slow  # systemd reads every unit of the host
def test_a_periodic_service_is_a_oneshot_that_its_timer_starts(tmp_path: Path) -> None:
    schedule = {"cron": "0 3 * * *", "jitter": 60}
    given = {"name": "nightly", "argv": ("/bin/true",), "cwd": "/", "kind": "periodic", "schedule": schedule}
    spec = ServiceSpec.model_validate(given)
    exported = export_fleet(Fleet(services={"nightly": spec}), Place("fleet", 252, is_user=False))
    assert set(exported.files) == {"fleet-nightly.service", "fleet-nightly.timer", "fleet.target"}
    service = settings(exported.files["fleet-nightly.service"])
    assert service["Type"] == ["oneshot"]
    assert not {"RemainAfterExit", "WantedBy"} & service.keys()
    assert settings(exported.files["fleet.target"])["Wants"] == ["fleet-nightly.timer"]
    assert not verify(tmp_path, exported.files)
