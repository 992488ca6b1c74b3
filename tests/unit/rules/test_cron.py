"""Cron across the two odd nights: held against a clock on the wall that is read every minute of a year."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from orchestra_supervisor.rules.cron import instant_text, next_instant

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
YEAR = (datetime(2026, 1, 1, tzinfo=UTC).timestamp(), datetime(2027, 1, 1, tzinfo=UTC).timestamp())


def runs(expression: str, zone: str, begin: float = YEAR[0], end: float = YEAR[1]) -> Iterator[float]:
    at = next_instant(expression, zone, begin)
    while at is not None and at <= end:
        yield at
        at = next_instant(expression, zone, at)


def wall_text(at: float, zone: str) -> str:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%m-%d %H:%M")


def instant(text: str, zone: str, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("minute", "hour"), [(0, 3), (15, 2), (45, 1), (0, 2), (5, 0)])
def test_a_daily_run_happens_once_each_day_of_a_year_with_two_changes(
    zone: str, minute: int, hour: int
) -> None:
    found = list(runs(f"{minute} {hour} * * *", zone))
    days = [datetime.fromtimestamp(at, ZoneInfo(zone)).date() for at in found]
    assert len(days) == 365
    assert len(set(days)) == 365
    odd = [at for at in found if wall_text(at, zone)[6:] != f"{hour:02d}:{minute:02d}"]
    assert len(odd) <= 1, "only the night that has no such time of day"
    for at in odd:
        assert wall_text(at - 1, zone)[6:] < f"{hour:02d}:{minute:02d}"


def changes(zone: str) -> list[float]:
    """Return the instants of the year at which the offset changes, to the half hour."""
    halves = range(int(YEAR[0]), int(YEAR[1]), 1800)
    offsets = [(at, datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset()) for at in halves]
    return [float(at) for (_, old), (at, new) in pairwise(offsets) if old != new]


def walk(zone: str, wanted: set[int], begin: float, end: float) -> Iterator[float]:
    """Read the clock on the wall every minute; what a leap of its hands swallows counts where they land."""
    hands = datetime.fromtimestamp(begin, ZoneInfo(zone)).replace(tzinfo=None)
    for tick in range(int(begin) + 60, int(end) + 1, 60):
        local = datetime.fromtimestamp(tick, ZoneInfo(zone)).replace(tzinfo=None)
        passed = max(1, int((local - hands).total_seconds()) // 60)
        if any((local - timedelta(minutes=back)).minute in wanted for back in range(passed)):
            yield float(tick)
        hands = local


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("minute", ["*/15", "7", "0,20,50"])
def test_an_hourly_run_happens_in_every_hour_that_passes(zone: str, minute: str) -> None:
    wanted = {"*/15": {0, 15, 30, 45}, "7": {7}, "0,20,50": {0, 20, 50}}[minute]
    assert len(changes(zone)) == (0 if zone == "UTC" else 2)
    for change in changes(zone) or [YEAR[0] + 86_400]:
        begin, end = change - 36_000, change + 36_000
        assert list(runs(f"{minute} * * * *", zone, begin, end)) == list(walk(zone, wanted, begin, end))


def test_a_run_in_the_gap_happens_at_the_first_instant_after_it() -> None:
    found = list(
        runs(
            "*/15 2 * * *",
            "Europe/Berlin",
            *(instant(f"2026-03-{day}T00:00", "Europe/Berlin") for day in (29, 30)),
        )
    )
    assert [wall_text(at, "Europe/Berlin") for at in found] == ["03-29 03:00"]
    at = next_instant("15 2 * * *", "Australia/Lord_Howe", instant("2026-10-04T00:00", "Australia/Lord_Howe"))
    assert at is not None
    assert wall_text(at, "Australia/Lord_Howe") == "10-04 02:30", "half an hour is left out there"


def test_a_run_in_the_doubled_hour_happens_the_first_time() -> None:
    zone = "Europe/Berlin"
    at = next_instant("30 2 * * *", zone, instant("2026-10-25T00:00", zone))
    assert at == instant("2026-10-25T02:30", zone, fold=0)
    again = next_instant("30 2 * * *", zone, at)
    assert again == instant("2026-10-26T02:30", zone)


def test_asked_within_the_second_pass_a_run_of_the_first_is_not_told_again() -> None:
    zone = "Europe/Berlin"
    within = instant("2026-10-25T02:10", zone, fold=1)
    assert next_instant("30 2 * * *", zone, within) == instant("2026-10-26T02:30", zone)
    assert next_instant("30 * * * *", zone, within) == instant("2026-10-25T02:30", zone, fold=1)


@pytest.mark.parametrize("zone", [*ZONES, "Antarctica/Troll", "Pacific/Apia", "Africa/Casablanca"])
@pytest.mark.parametrize("expression", ["20 */6 * * *", "*/20 1-3 * * SUN", "0 0 * * *", "30 2 L * *"])
def test_what_comes_next_is_the_same_from_wherever_it_is_asked(zone: str, expression: str) -> None:
    begin = datetime(2011, 1, 1, tzinfo=UTC).timestamp()  # with the day that Apia left out
    found = list(runs(expression, zone, begin, begin + 366 * 86_400))
    assert found == sorted(set(found))
    for one, other in list(pairwise(found))[::23]:
        assert next_instant(expression, zone, one + (other - one) / 2) == other
        assert next_instant(expression, zone, other - 0.25) == other


def test_the_day_that_a_zone_left_out_has_its_run_after_it() -> None:
    zone = "Pacific/Apia"
    at = next_instant("0 12 30 12 *", zone, instant("2011-12-29T13:00", zone))
    assert at == instant("2011-12-31T00:00", zone)


def test_an_expression_that_names_no_day_for_fifty_years_has_no_next_run() -> None:
    assert next_instant("0 0 29 2 *", "UTC", YEAR[0]) == instant("2028-02-29T00:00", "UTC")


def test_an_instant_is_told_in_its_zone() -> None:
    at = instant("2026-03-29T03:00", "Europe/Berlin")
    assert instant_text("Europe/Berlin", at) == "2026-03-29 03:00 CEST"
