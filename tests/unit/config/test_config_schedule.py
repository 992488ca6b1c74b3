import json

import pytest
import tzlocal

from orchestra_supervisor.config.form_schedule import host_zone
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.states import Kind


def load_job(load, **body: object):
    return load({"services": {"job": {"command": ["x"]} | body}}, TZ="America/New_York")


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("5m", {"every": 300}),
        (90, {"every": 90}),
        ("0 3 * * *", {"cron": "0 3 * * *", "timezone": "America/New_York"}),
        (
            {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
            {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        ),
        (
            {"every": "1h", "jitter": "30s", "overlap": "queue", "missed": "all", "on_start": True},
            {"every": 3600, "jitter": 30, "overlap": "queue", "missed": "all", "on_start": True},
        ),
        ("${SPAN:-10s}", {"every": 10}),
    ],
)
def test_a_schedule_makes_a_service_periodic(load, written: object, spec: dict[str, object]) -> None:
    result = load_job(load, schedule=written)
    assert result.errors == ()
    job = result.fleet.services["job"]
    assert (job.kind, job.schedule) == (Kind.PERIODIC, ScheduleSpec.model_validate(spec))
    assert job.restart.policy == "never"
    again = type(job).model_validate_json(job.model_dump_json())
    assert again == job


@pytest.mark.parametrize(
    ("schedule", "field", "said"),
    [
        ("61 3 * * *", "schedule", "minute field of 0 to 59"),
        ({"cron": "0 3 * * MO"}, "schedule.cron", "day-of-week field"),
        ({"cron": "0 3 * *"}, "schedule.cron", "must be five fields"),
        ({"cron": "0 3 * * *", "timezone": "Berlin"}, "schedule.timezone", "IANA name"),
        ("hourly", "schedule", 'a duration like "5m", or five cron fields'),
        ({"every": "5m", "jitter": "6m"}, "schedule", "jitter longer than every"),
        ({"every": "5m", "timezone": "UTC"}, "schedule", "only beside cron"),
        ({"every": "5m", "cron": "* * * * *"}, "schedule", "exactly one of every and cron"),
        ({}, "schedule", "exactly one of every and cron"),
        ("0.5s", "schedule", "greater than or equal to 1"),
        ({"every": "5m", "overlap": "both"}, "schedule.overlap", "'skip', 'queue' or 'replace'"),
    ],
)
def test_a_bad_schedule_is_told_with_its_line_and_its_field(load, schedule, field, said) -> None:
    text = json.dumps({"command": ["x"], "schedule": schedule})
    result = load('{"services": {\n"job": ' + text + "}}")
    (finding,) = result.errors
    assert said in finding.message
    assert finding.field == field
    assert finding.where[0].line == 2
    assert finding.hint


@pytest.mark.parametrize(
    "body",
    [{"kind": "periodic"}, {"kind": "daemon", "schedule": "5m"}, {"type": "once", "schedule": "5m"}],
)
def test_what_is_periodic_and_what_has_a_schedule_is_the_same(load, body: dict[str, object]) -> None:
    (finding,) = load_job(load, **body).errors
    assert "schedule" in finding.message


@pytest.mark.parametrize(
    ("tz", "system", "zone"),
    [
        ("Europe/Berlin", "Asia/Tokyo", "Europe/Berlin"),
        (":Europe/Berlin", "Asia/Tokyo", "Europe/Berlin"),
        ("CET-1CEST", "Asia/Tokyo", "Asia/Tokyo"),
        ("", "Asia/Tokyo", "Asia/Tokyo"),
        ("", None, "UTC"),
        ("", "No/Where", "UTC"),
    ],
)
def test_the_hosts_zone_is_that_of_tz_else_that_of_the_system_else_utc(
    monkeypatch: pytest.MonkeyPatch, tz: str, system: str | None, zone: str
) -> None:
    monkeypatch.setattr(tzlocal, "get_localzone_name", lambda: system)
    assert host_zone({"TZ": tz} if tz else {}) == zone


def test_the_older_forms_interval_is_the_schedule_of_a_periodic_service(load) -> None:
    older = {"services": {"clean": {"command": "c", "type": "periodic", "interval": 60}}}
    result = load(older, "orchestra_autostart.json")
    assert result.errors == ()
    assert result.fleet.services["clean"].schedule == ScheduleSpec(every=60)
    assert result.fleet.services["clean"].enabled


def test_a_bad_interval_of_the_older_form_is_told_where_it_is_written(load) -> None:
    older = {"services": {"clean": {"command": "c", "type": "periodic", "interval": 0}}}
    (finding,) = load(older, "orchestra_autostart.json").errors
    assert finding.field == "interval"


def test_the_older_forms_periodic_service_without_an_interval_is_known_and_not_started(load) -> None:
    result = load({"services": {"clean": {"command": "c", "type": "periodic"}}}, "orchestra_autostart.json")
    assert result.errors == ()
    assert not result.fleet.services["clean"].enabled
    (finding,) = [one for one in result.findings if one.code == "periodic.unplanned"]
    assert "interval" in finding.hint
