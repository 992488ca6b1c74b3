"""Each state of a backend, by what is known of it."""

import pytest

from orchestra_supervisor.gateway.backends.health import Facts, Health, backoff, judge
from orchestra_supervisor.gateway.backends.link import Trouble


@pytest.mark.parametrize(
    ("facts", "health", "why"),
    [
        (Facts(is_up=False, is_demanded=True), Health.IDLE, "stopped until it is called"),
        (Facts(is_up=True), Health.STARTING, "it has not introduced itself yet"),
        (Facts(is_up=False), Health.DOWN, "it does not run"),
        (Facts(is_up=True, is_connected=True), Health.READY, ""),
        (Facts(is_up=True, is_connected=True, unanswered=2), Health.READY, ""),
        (
            Facts(is_up=True, is_connected=True, unanswered=3),
            Health.DOWN,
            "it left 3 questions in a row unanswered",
        ),
        (
            Facts(is_up=True, is_connected=True, shrunk=7),
            Health.DEGRADED,
            "it lists no tools any more, and had 7; those are still shown",
        ),
        (Facts(is_up=True, is_connected=True, faults=("a", "b")), Health.DEGRADED, "a; b"),
        (Facts(is_up=True, is_connected=True, canary="x fails"), Health.DEGRADED, "x fails"),
        (Facts(is_up=True, trouble=Trouble.AUTH, why="401", crashes=9), Health.AUTH_REQUIRED, "401"),
        (Facts(is_up=True, trouble=Trouble.NOT_MCP, why="a page", crashes=1), Health.DOWN, "a page"),
        (Facts(is_up=False, trouble=Trouble.LOST, why="it ended", crashes=4), Health.DOWN, "it ended"),
        (
            Facts(is_up=False, trouble=Trouble.LOST, why="it ended", crashes=5),
            Health.CRASH_LOOP,
            "it ended 5 times in a row, soon after its start: it ended",
        ),
    ],
)
def test_state_and_reason(facts: Facts, health: Health, why: str) -> None:
    verdict = judge(facts)
    assert (verdict.health, verdict.why) == (health, why)


def test_levels_are_told_apart() -> None:
    silent = judge(Facts(is_up=True, is_connected=True, unanswered=3))
    assert silent.levels == {"L0": True, "L1": False, "L2": None, "L3": None}
    shrunk = judge(Facts(is_up=True, is_connected=True, shrunk=1))
    assert shrunk.levels == {"L0": True, "L1": True, "L2": False, "L3": None}


def test_pauses_grow_and_attempts_never_end() -> None:
    first = [0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert [backoff(failures, is_hopeless=True) for failures in range(12)] == [*first, 300.0, 300.0, 300.0]
    assert [backoff(failures) for failures in range(12)] == [*first, 30.0, 30.0, 30.0]
