import pytest
from pydantic import ValidationError

from orchestra_supervisor.model.schedule import ScheduleSpec, check_cron
from orchestra_supervisor.model.zones import zone_of


@pytest.mark.parametrize(
    "expression", ["* * * * *", "*/5 8-18 * * MON-FRI", "0 3 L * *", "0 3 * * 5#2", "0 0 29 2 *"]
)
def test_an_expression_that_names_instants_is_taken_as_it_is(expression: str) -> None:
    assert check_cron(expression) == expression


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("60 * * * *", "a minute field of 0 to 59.*'60' is none"),
        ("0 24 * * *", "an hour|a hour field"),
        ("0 0 32 * *", "day-of-month field"),
        ("0 0 * 13 *", "month field of 1 to 12"),
        ("0 0 * * MO", "day-of-week field.*'MO' is none"),
        ("0 0 * *", r"five fields \(minute hour day-of-month month day-of-week\)"),
        ("0 0 0 * * *", "five fields"),
        ("", "five fields"),
        ("0 0 31 2 *", "day-of-month"),
        ("0 0 30 2 L", "day-of-week"),
        ("*/0 * * * *", "minute"),
    ],
)
def test_of_a_bad_expression_the_field_is_named(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_cron(expression)


@pytest.mark.parametrize("name", ["Mars/Base", "", "../../etc/passwd", "/etc/localtime", "Europe", "a\x00b"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        zone_of(name)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"every": 60, "cron": "* * * * *"},
        {"every": 0.5},
        {"every": float("inf")},
        {"every": 60, "jitter": 61},
        {"cron": "* * * * *", "timezone": "Mars/Base"},
        {"cron": "61 * * * *"},
    ],
)
def test_a_schedule_that_names_no_instants_cannot_come_to_be(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScheduleSpec.model_validate(fields)
