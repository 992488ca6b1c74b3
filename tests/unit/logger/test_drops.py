"""Loss is reported exactly, and not too often."""

import select
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from orchestra_supervisor.logger import drops as drops_module
from orchestra_supervisor.logger.drops import Drops
from orchestra_supervisor.logger.timers import Timers


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    monkeypatch.setattr(drops_module, "REPORT_INTERVAL", 0.05)
    return []


def run_until(timers: Timers, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        wait = timers.wait()
        assert wait is not None, "nothing is due"
        assert time.monotonic() < deadline
        select.select([], [], [], wait)
        timers.run()


def test_a_burst_is_one_report_with_its_sum_and_its_beginning(reports: list[tuple[int, float]]) -> None:
    timers = Timers()
    drops = Drops(timers, lambda size, since: reports.append((size, since)))
    before = time.time()
    for _ in range(100):
        drops.add(7)
    assert drops.unreported == 700
    run_until(timers, lambda: bool(reports))
    assert [size for size, _ in reports] == [700]
    assert before <= reports[0][1] <= time.time()
    assert drops.unreported == 0


def test_reports_of_a_trouble_that_lasts_become_rarer_and_the_last_comes_soon(
    reports: list[tuple[int, float]],
) -> None:
    timers = Timers()
    times: list[float] = []
    drops = Drops(
        timers, lambda size, since: (reports.append((size, since)), times.append(time.monotonic()))[0]
    )
    for number in range(1, 5):
        drops.add(10)
        run_until(timers, lambda number=number: len(reports) >= number)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[1] > gaps[0] * 1.5
    assert gaps[2] > gaps[1] * 1.5
    drops.add(3)
    drops.over()
    started = time.monotonic()
    run_until(timers, lambda: len(reports) == 5)
    assert time.monotonic() - started < gaps[2]
    assert sum(size for size, _ in reports) == 43
    timers.run()
    assert len(reports) == 5, "what was brought forward is not told twice"


def test_nothing_is_reported_when_nothing_was_lost() -> None:
    timers = Timers()
    drops = Drops(timers, lambda size, since: pytest.fail(f"told {size} {since}"))
    drops.over()
    drops.report()
    assert timers.wait() is None


def test_timers_call_in_order_and_only_what_is_due() -> None:
    timers = Timers()
    called: list[str] = []
    timers.after(3600, lambda: called.append("far"))
    timers.after(0, lambda: called.append("first"))
    timers.after(0, lambda: called.append("second"))
    timers.run()
    assert called == ["first", "second"]
    assert 3500 < (timers.wait() or 0) <= 3600
