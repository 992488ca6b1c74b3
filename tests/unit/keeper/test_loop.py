"""The loop: order, timers, and faults that stay where they happened."""

import os

import pytest

from orchestra_supervisor.keeper.loop import Loop, say


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def test_timers_come_in_the_order_in_which_they_are_due_and_cancelled_ones_never(loop):
    seen: list[str] = []
    loop.call_later(0.02, loop.stop)
    loop.call_later(0.01, lambda: seen.append("second"))
    loop.call_later(0.0, lambda: seen.append("first"))
    loop.call_later(0.005, lambda: seen.append("never")).cancel()
    loop.run()
    assert seen == ["first", "second"]


def test_cancelled_timers_do_not_pile_up(loop):
    for _ in range(5_000):
        loop.call_later(31_536_000.0, loop.stop).cancel()
    kept = loop.call_later(0.0, loop.stop)
    assert len(loop._timers) <= 512
    loop.run()
    assert kept.callback is None


def test_hooks_run_after_the_callbacks_of_each_turn(loop, pipe):
    seen: list[str] = []
    os.write(pipe[1], b"x")

    def on_read(_events: int) -> None:
        seen.append(os.read(pipe[0], 1).decode())
        loop.stop()

    loop.watch(pipe[0], on_read)
    loop.at_turn_end(lambda: seen.append("end"))
    loop.run()
    assert seen == ["x", "end"]


def test_a_callback_that_fails_is_reported_and_tried_again(loop, pipe, capfd):
    seen: list[int] = []
    os.write(pipe[1], b"x")

    def fails_once(_events: int) -> None:
        seen.append(1)
        if len(seen) == 1:
            raise RuntimeError("the first time")
        loop.stop()

    loop.watch(pipe[0], fails_once)
    loop.call_later(5.0, loop.stop)
    loop.run()
    assert len(seen) == 2
    message = capfd.readouterr().err
    assert "a fault of ours" in message
    assert f"  {__file__}:" in message
    assert "the first time" in message


def test_a_timer_and_a_hook_that_fail_do_not_end_the_loop(loop, capfd):
    def fail() -> None:
        raise OSError("broken")

    loop.call_later(0.0, fail)
    loop.at_turn_end(fail)
    loop.call_later(0.01, loop.stop)
    loop.run()
    assert capfd.readouterr().err.count("OSError: broken") >= 2


def test_a_descriptor_that_was_closed_while_it_rested_is_forgotten(loop, capfd):
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")

    def fail(_events: int) -> None:
        os.close(read_end)
        raise RuntimeError("and gone")

    loop.watch(read_end, fail)
    loop.call_later(0.2, loop.stop)
    loop.run()
    assert capfd.readouterr().err.count("a fault of ours") == 1
    os.close(write_end)


def test_what_an_earlier_callback_of_the_turn_closed_is_not_called(loop):
    first, second = os.pipe(), os.pipe()
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    seen: list[int] = []

    def close_other(mine: int, other: int) -> None:
        seen.append(mine)
        loop.unwatch(other)
        loop.unwatch(mine)
        loop.stop()

    loop.watch(first[0], lambda _events: close_other(first[0], second[0]))
    loop.watch(second[0], lambda _events: close_other(second[0], first[0]))
    loop.run()
    assert len(seen) == 1
    for fd in (*first, *second):
        os.close(fd)


def test_nothing_is_said_when_stderr_would_block(capfd):
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(write_end, True)
    saved = os.dup(2)
    os.dup2(write_end, 2)
    try:
        say("dropped")  # would hang
    finally:
        os.dup2(saved, 2)
    for fd in (read_end, write_end, saved):
        os.close(fd)
    say("heard")
    assert capfd.readouterr().err == "orchestra keeper: heard\n"
