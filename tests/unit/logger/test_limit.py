"""A bucket lets a burst through, then the rate; once shut it stays so until it is half full."""

import pytest

from orchestra_supervisor.logger import limit
from orchestra_supervisor.logger.limit import RateLimit, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limit, "time", clock)
    return clock


def test_a_burst_is_let_through_and_what_follows_waits_for_half_of_it(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(size=10, per=1.0, burst=100))
    assert [limiter.admit(25) for _ in range(5)] == [True] * 4 + [False]
    assert limiter.reopens_in() == pytest.approx(5.0)
    clock.now += 4.9
    assert not limiter.admit(1), "one small line would be followed by a gap again"
    clock.now += 0.11
    assert limiter.admit(50)


def test_over_a_long_time_the_rate_holds(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(size=1000, per=2.0, burst=200))
    written = 0
    for _ in range(10_000):
        clock.now += 0.01
        written += 20 * limiter.admit(20)
    assert 49_000 <= written <= 50_200  # 100 s at 500 bytes a second


@pytest.mark.usefixtures("clock")
def test_a_line_larger_than_the_bucket_gets_through_when_it_is_full() -> None:
    limiter = RateLimiter(RateLimit(size=10, per=1.0, burst=100))
    assert limiter.admit(1000)
    assert not limiter.admit(1)
    assert limiter.reopens_in() == pytest.approx(95.0)


def test_a_large_line_that_was_refused_is_waited_for_as_long_as_it_takes(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(size=10, per=1.0, burst=100))
    assert limiter.admit(100)
    assert not limiter.admit(90)
    clock.now += limiter.reopens_in()
    assert limiter.admit(90)
