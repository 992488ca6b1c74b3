from itertools import pairwise

from orchestra_supervisor.plugin_api.standing import (
    FAILURES_IN_A_ROW,
    FIRST_SUSPENSION,
    LONGEST_SUSPENSION,
    Standing,
)


def failed(standing: Standing, times: int, now: float = 0.0) -> Standing:
    for _ in range(times):
        standing = standing.failed("x", now)
    return standing


def test_a_few_failures_are_counted_and_nothing_more() -> None:
    standing = failed(Standing(), FAILURES_IN_A_ROW - 1)
    assert (standing.failures, standing.in_a_row, standing.calls) == (2, 2, 2)
    assert not standing.is_suspended(0.0)


def test_so_many_in_a_row_suspend_for_a_while() -> None:
    standing = failed(Standing(), FAILURES_IN_A_ROW, now=100.0)
    assert standing.is_suspended(100.0 + FIRST_SUSPENSION - 0.1)
    assert not standing.is_suspended(100.0 + FIRST_SUSPENSION)


def test_a_success_between_begins_the_row_anew_and_keeps_the_count_and_the_last_error() -> None:
    standing = failed(failed(Standing(), 2).passed(), 2)
    assert not standing.is_suspended(0.0)
    assert (standing.failures, standing.calls, standing.last_error) == (4, 5, "x")


def test_each_further_suspension_is_longer_up_to_a_bound_and_a_success_ends_that() -> None:
    standing, now, spells = failed(Standing(), FAILURES_IN_A_ROW), 0.0, list[float]()
    for _ in range(12):
        assert standing.suspended_until is not None
        spells.append(standing.suspended_until - now)
        now = standing.suspended_until
        standing = standing.failed("x", now)
    assert spells[0] == FIRST_SUSPENSION
    assert all(later >= earlier for earlier, later in pairwise(spells))
    assert max(spells) == LONGEST_SUSPENSION
    well = standing.passed()
    assert well.suspended_until is None
    assert failed(well, FAILURES_IN_A_ROW, now).suspended_until == now + FIRST_SUSPENSION


def test_calls_that_were_open_when_it_was_suspended_do_not_extend_that() -> None:
    standing = failed(Standing(), FAILURES_IN_A_ROW, now=10.0)
    assert failed(standing, 50, now=11.0).suspended_until == standing.suspended_until


def test_what_is_to_be_tried_later_is_neither_failure_nor_success() -> None:
    standing = failed(Standing(), 2).deferred("HTTP 503")
    assert (standing.failures, standing.in_a_row, standing.last_error) == (2, 2, "HTTP 503")
