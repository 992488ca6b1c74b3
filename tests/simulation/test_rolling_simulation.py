"""Replicas in random schedules: a roll sends no more of them away than was said; and a fault would show.

A failing seed is replayed, with its whole story, by `python -m tests.simulation SEED --rolling`.
"""

import pytest

from orchestra_supervisor.rules import rolling
from orchestra_supervisor.rules.service import Service
from tests.simulation.rolling import RollingSchedule
from tests.simulation.schedule import replay, violation_of

SEEDS = 24
CHUNK = 12


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_happens_that_must_never_happen(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            replay(seed, RollingSchedule)
        except BaseException as error:
            error.add_note(f"seed {seed}: {violation_of(error)}")
            raise


def everybody_counts_as_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(_service: Service, _now: float) -> bool:
        return True

    monkeypatch.setattr(rolling, "is_available", always)


@pytest.mark.slow
def test_a_roll_that_does_not_look_who_is_ready_is_found_by_some_schedule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everybody_counts_as_ready(monkeypatch)
    found = ""
    for seed in range(100):
        try:
            replay(seed, RollingSchedule)
        except BaseException as error:  # noqa: BLE001  # groups of violations
            found = violation_of(error)
            break
    assert found.startswith("Violation: rolling")
