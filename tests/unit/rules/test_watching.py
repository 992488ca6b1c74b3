"""Bursts end, and watches do not act without end."""

from orchestra_supervisor.rules.watching import LONGEST_BURST, MOST_ACTIONS, WINDOW, act_at, pause_until


def test_a_burst_is_over_after_a_quiet_while_and_at_the_latest_after_its_longest_time() -> None:
    assert act_at(0.0, 0.0, 0.3) == 0.3
    assert act_at(0.0, 5.0, 0.3) == 5.3
    assert act_at(0.0, 100.0, 0.3) == LONGEST_BURST
    assert act_at(0.0, 100.0, 5.0) == 50.0


def test_a_watch_pauses_after_its_most_actions_until_the_oldest_of_them_is_out_of_the_window() -> None:
    few = tuple(float(at) for at in range(MOST_ACTIONS - 1))
    assert pause_until(few, 20.0) is None
    many = (*few, 20.0)
    assert pause_until(many, 21.0) == WINDOW
    assert pause_until(many, WINDOW + 0.5) is None
    assert pause_until((), 0.0) is None
