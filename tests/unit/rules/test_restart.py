import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.model.spec import BackoffSpec, RestartSpec
from orchestra_supervisor.model.states import Kind
from orchestra_supervisor.rules.restart import (
    Again,
    GiveUp,
    backoff_delay,
    decide_restart,
    is_success,
    wants_restart,
)

BACKOFFS = st.builds(
    BackoffSpec,
    initial=st.floats(0, 1000),
    multiplier=st.floats(1, 100),
    cap=st.floats(0, 3600),
    jitter=st.floats(0, 1),
    first_immediate=st.booleans(),
)
RUN_IDS = st.integers(0, 16**12 - 1).map(lambda number: f"web-{number:012x}")
NO_JITTER = BackoffSpec(jitter=0.0)


def decide(spec: RestartSpec, **given: object) -> Again | GiveUp:
    asked: dict[str, object] = {"attempts": 0, "recent": (), "lasted": 0.0, "now": 100.0, "seed": "a-0" * 6}
    return decide_restart(spec, **(asked | given))  # type: ignore[arg-type]


@given(BACKOFFS, st.integers(0, 3000), RUN_IDS)
def test_a_backoff_is_never_over_its_cap_and_jitter(spec: BackoffSpec, attempts: int, seed: str) -> None:
    delay = backoff_delay(spec, attempts, seed)
    assert 0 <= delay <= spec.cap * (1 + spec.jitter) * (1 + 1e-12)


@given(BACKOFFS, st.integers(0, 200), RUN_IDS)
def test_a_backoff_never_shrinks_from_one_attempt_to_the_next(
    spec: BackoffSpec, attempts: int, seed: str
) -> None:
    assert backoff_delay(spec, attempts, seed) <= backoff_delay(spec, attempts + 1, seed)


@given(BACKOFFS, st.integers(0, 50), RUN_IDS)
def test_jitter_adds_at_most_its_share(spec: BackoffSpec, attempts: int, seed: str) -> None:
    plain = backoff_delay(spec.model_copy(update={"jitter": 0.0}), attempts, seed)
    assert plain <= backoff_delay(spec, attempts, seed) <= plain * (1 + spec.jitter) * (1 + 1e-12)


def test_jitter_comes_from_the_digits_of_the_run() -> None:
    spec = BackoffSpec(initial=1.0, jitter=0.5, first_immediate=False)
    assert backoff_delay(spec, 0, "a-000000000000") == 1.0
    assert backoff_delay(spec, 0, "a-800000000000") == 1.25
    assert backoff_delay(spec, 0, "not a run id") == 1.0


def test_the_first_restart_is_immediate_only_where_the_policy_says_so() -> None:
    assert backoff_delay(NO_JITTER, 0, "") == 0.0
    assert [backoff_delay(NO_JITTER, n, "") for n in (1, 2, 3)] == [0.5, 1.0, 2.0]
    waits = NO_JITTER.model_copy(update={"first_immediate": False})
    assert [backoff_delay(waits, n, "") for n in (0, 1, 2)] == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("policy", "kind", "success", "wanted"),
    [
        ("always", Kind.DAEMON, True, True),
        ("always", Kind.DAEMON, False, True),
        ("always", Kind.ONCE, True, False),
        ("always", Kind.ONCE, False, True),
        ("on-failure", Kind.DAEMON, True, False),
        ("on-failure", Kind.DAEMON, False, True),
        ("on-failure", Kind.ONCE, False, True),
        ("never", Kind.DAEMON, False, False),
        ("never", Kind.ONCE, True, False),
    ],
)
def test_policy_kind_and_success_decide_about_another_run(
    policy: str, kind: Kind, success: bool, wanted: bool
) -> None:
    spec = RestartSpec.model_validate({"policy": policy})
    assert wants_restart(spec, kind, success=success) is wanted


def test_a_death_by_signal_is_never_a_success() -> None:
    spec = RestartSpec(success_exit_codes=(0, 3))
    assert [is_success(spec, code) for code in (0, 3, 1, None)] == [True, True, False, False]


@given(
    st.lists(st.floats(0, 1000), max_size=8).map(sorted),
    st.floats(0, 1000),
    st.integers(0, 5),
    st.floats(0, 100),
)
def test_the_limit_holds_within_the_window_and_only_there(
    recent: list[float], now: float, limit: int, window: float
) -> None:
    spec = RestartSpec(max_restarts=limit, window=window)
    inside = [at for at in recent if not window or at > now - window]
    verdict = decide(spec, recent=tuple(recent), now=now)
    assert isinstance(verdict, GiveUp) == (len(inside) >= limit)
    if isinstance(verdict, Again):
        assert verdict.recent == (*inside, now)
        assert len(verdict.recent) <= limit


def test_giving_up_says_how_many_and_within_what() -> None:
    assert decide(RestartSpec(max_restarts=1, window=60.0), recent=(99.0,)) == GiveUp(
        "restart limit reached: 1 restarts within 60 s"
    )
    assert decide(RestartSpec(max_restarts=1, window=0.0), recent=(1.0,)) == GiveUp(
        "restart limit reached: 1 restarts"
    )


def test_a_stable_spell_begins_the_backoff_anew_but_not_the_window() -> None:
    spec = RestartSpec(backoff=NO_JITTER, stable_after=30.0, max_restarts=3)
    assert decide(spec, attempts=5, lasted=29.0) == Again(8.0, 6, (100.0,))
    assert decide(spec, attempts=5, lasted=30.0, recent=(90.0,)) == Again(0.0, 1, (90.0, 100.0))


def test_without_a_limit_nothing_is_remembered() -> None:
    verdict = decide(RestartSpec(max_restarts=None), recent=tuple(float(n) for n in range(1000)))
    assert verdict == Again(0.0, 1, ())
