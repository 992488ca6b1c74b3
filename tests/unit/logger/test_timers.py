"""Calls are made in the order of their deadlines, unless they are taken back."""

from orchestra_supervisor.logger.timers import Timers


def test_what_is_cancelled_is_not_called_and_wakes_nobody() -> None:
    timers = Timers()
    called: list[str] = []
    first = timers.after(0.0, lambda: called.append("first"))
    timers.after(0.0, lambda: called.append("second"))
    timers.cancel(first)
    timers.run()
    assert called == ["second"]
    assert timers.wait() is None


def test_what_was_called_may_be_cancelled() -> None:
    timers = Timers()
    timer = timers.after(0.0, lambda: None)
    timers.run()
    timers.cancel(timer)
    assert timers.wait() is None
