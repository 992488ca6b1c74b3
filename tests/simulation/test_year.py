"""A year of planned runs on a virtual clock: the clocks are changed twice, and daemons die again and again.

Every planned run begins exactly once: held against a clock on the wall that is read every quarter of an hour.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import anyio
import pytest
import trio.testing

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import Fleet, RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import Kind
from orchestra_supervisor.rules import schedule as rules
from tests.simulation.schedule import Schedule

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + 1
YEAR = 365 * 86_400.0
QUARTER = 900
TIMES = {
    "45 1 * * *": {time(1, 45)},
    "0,15,30 2 * * SUN,THU": {time(2, 0), time(2, 15), time(2, 30)},
}
"""Cron expressions and the times of day that they name, for who cannot read cron."""
DEATHS = 40


def hands(at: float, zone: str) -> datetime:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None)


def expected(cron: str, zone: str) -> Iterator[float]:
    """Read the clock on the wall: a time that comes again has been, one that its hands leap over is now."""
    times, days = TIMES[cron], {3, 6} if "SUN,THU" in cron else set(range(7))
    seen: set[tuple[date, time]] = set()
    tick = BEGIN - 1
    before = hands(tick, zone)
    while tick + QUARTER <= BEGIN + YEAR:
        tick += QUARTER
        now = hands(tick, zone)
        leapt = max(1, int((now - before).total_seconds()) // QUARTER)
        shown = [now - timedelta(seconds=QUARTER * back) for back in range(leapt)]
        named = [one for one in shown if one.time() in times and one.weekday() in days]
        strikes = {(one.date(), one.time()) for one in named} - seen
        if strikes:
            seen |= strikes
            yield tick
        before = now


def play(zone: str, seed: int) -> dict[str, list[float]]:
    """Return when the runs of each expression began, in wall seconds."""
    names = {f"s{number}": cron for number, cron in enumerate(TIMES)}
    services = {
        name: ServiceSpec(
            name=name,
            argv=("x",),
            cwd="/",
            kind=Kind.PERIODIC,
            schedule=ScheduleSpec(cron=cron, timezone=zone),
            restart=RestartSpec(policy="never"),
        )
        for name, cron in names.items()
    }
    game = Schedule(seed, Fleet(services=services), wall=BEGIN)

    async def main() -> None:
        with closing(game):
            await game.play_through(deaths_at(zone, game), YEAR)

    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})
    return {names[name]: [BEGIN + at for at in starts] for name, starts in game.world.spawns.items()}


def deaths_at(zone: str, game: Schedule) -> list[float]:
    """Return instants of death, in seconds of the year: at random, and just when runs are due."""
    due = [at - BEGIN for cron in TIMES for at in expected(cron, zone)]
    at_random = [game.rng.uniform(0, YEAR) for _ in range(DEATHS // 2)]
    return sorted([*game.rng.sample(due, DEATHS // 2), *at_random])


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_every_planned_run_of_a_year_begins_exactly_once(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "WATCH", 43_200.0)  # half a million looks at a clock that nobody sets
    began = play(zone, seed=len(zone))
    for cron in TIMES:
        wanted = list(expected(cron, zone))
        assert len(began[cron]) == len(wanted), cron
        late = [at - planned for at, planned in zip(began[cron], wanted, strict=True)]
        assert min(late) >= 0, cron
        assert max(late) < 10, "a daemon is away for three seconds at most"
