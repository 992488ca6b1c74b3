import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.model.spec import ProbeSpec, TcpCheck
from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.health import (
    FIRST_INTERVAL,
    SLOWEST_EAGER,
    Tally,
    active_probes,
    count,
    next_interval,
)
from orchestra_supervisor.rules.inputs import ProbeKind
from orchestra_supervisor.rules.service import Run, Service
from tests.unit.rules.stage import spec_of

RUN = Run("a-000000000000", 0.0, 0.0, pid=1)
STARTUP, READINESS, LIVENESS = ProbeKind.STARTUP, ProbeKind.READINESS, ProbeKind.LIVENESS


def probe(**fields: float) -> ProbeSpec:
    return ProbeSpec.model_validate({"check": TcpCheck(port=1), **fields})


def feed(spec: ProbeSpec, kind: ProbeKind, results: str, *, every: float = 1.0) -> str:
    """Count results (`+` and `-`), one a period; return the verdicts in their places."""
    tally, verdicts = Tally(), ""
    for number, result in enumerate(results):
        tally, verdict = count(spec, kind, tally, passed=result == "+", elapsed=number * every)
        verdicts += {None: ".", True: "+", False: "-"}[verdict]
    return verdicts


@pytest.mark.parametrize(
    ("successes", "failures", "results", "verdicts"),
    [
        (1, 3, "+", "+"),
        (3, 3, "+++", "..+"),
        (3, 3, "++-+++", ".....+"),
        (1, 3, "+--", "+.."),
        (1, 3, "+---", "+..-"),
        (1, 3, "+--+---", "+.....-"),
        (2, 2, "++--+-++", ".+.-...+"),
        (1, 3, "-----+", ".....+"),  # not ready yet is no news
        (1, 1, "+-+-", "+-+-"),
        (1, 1, "+--", "+-."),
    ],
)
def test_readiness_turns_when_its_thresholds_count(
    successes: int, failures: int, results: str, verdicts: str
) -> None:
    spec = probe(success_threshold=successes, failure_threshold=failures)
    assert feed(spec, READINESS, results) == verdicts


def test_liveness_fails_without_ever_having_passed() -> None:
    assert feed(probe(failure_threshold=2), LIVENESS, "--") == ".-"


def test_liveness_that_still_fails_is_told_again() -> None:
    assert feed(probe(failure_threshold=2), LIVENESS, "+------+--") == "+.-.-.-+.-"


def test_startup_fails_by_time_however_often_it_was_checked() -> None:
    spec = probe(period=10.0, failure_threshold=3, initial_delay=5.0)
    often = feed(spec, STARTUP, "-" * 80, every=0.5)
    assert often.index("-") == 70  # 5 + 3 * 10 seconds
    assert often.count("-") == 1
    assert feed(spec, STARTUP, "--------+", every=4.0) == "........+"


@given(st.text("+-", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_readiness_verdicts_alternate_and_need_their_run_of_results(
    results: str, successes: int, failures: int
) -> None:
    spec = probe(success_threshold=successes, failure_threshold=failures)
    verdicts = feed(spec, READINESS, results)
    told = verdicts.replace(".", "")
    assert all(one != other for one, other in itertools.pairwise(told))
    for place, verdict in enumerate(verdicts):
        needed = {"+": successes, "-": failures, ".": 0}[verdict]
        assert results[place + 1 - needed : place + 1] == verdict * needed


@given(st.integers(1, 500), st.floats(0.01, 86_400))
def test_until_the_first_pass_checks_come_early_and_ever_slower(checks: int, period: float) -> None:
    spec = probe(period=period)
    this = next_interval(spec, READINESS, Tally(checks=checks))
    after = next_interval(spec, READINESS, Tally(checks=checks + 1))
    assert min(FIRST_INTERVAL, period) <= this <= after <= min(SLOWEST_EAGER, period)


def test_after_the_first_pass_and_for_liveness_the_period_holds() -> None:
    spec = probe(period=7.0)
    assert next_interval(spec, READINESS, Tally(checks=1, passed_once=True)) == 7.0
    assert next_interval(spec, LIVENESS, Tally(checks=1)) == 7.0
    assert next_interval(spec, STARTUP, Tally(checks=1)) == FIRST_INTERVAL


@pytest.mark.parametrize(
    ("state", "probed", "wanted"),
    [
        (State.STARTING, "srl", {STARTUP}),
        (State.STARTING, "rl", set[ProbeKind]()),
        (State.RUNNING, "srl", {READINESS}),
        (State.READY, "srl", {READINESS, LIVENESS}),
        (State.UNHEALTHY, "srl", {READINESS, LIVENESS}),
        (State.READY, "l", {LIVENESS}),
        (State.READY, "", set[ProbeKind]()),
        (State.STOPPING, "srl", set[ProbeKind]()),
    ],
)
def test_which_probes_run_follows_from_the_state(state: State, probed: str, wanted: set[ProbeKind]) -> None:
    service = Service(spec_of(probed=probed), state=state, run=RUN)
    assert set(active_probes(service)) == wanted


def test_no_probe_runs_without_a_living_leader() -> None:
    service = Service(spec_of(probed="srl"), state=State.READY, run=RUN)
    assert active_probes(replace(service, run=None)) == ()
    assert active_probes(replace(service, run=replace(RUN, pid=None))) == ()
    assert active_probes(replace(service, run=replace(RUN, leader_ended=True))) == ()
