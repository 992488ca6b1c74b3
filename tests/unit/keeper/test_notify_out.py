"""Datagrams to a manager that is slow, far away or none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from orchestra_supervisor.keeper.loop import Loop
from orchestra_supervisor.keeper.notify_out import ServiceManager
from tests.process.service_manager import ServiceManager as Listener


@contextmanager
def manager_for(listener: Listener, loop: Loop) -> Iterator[ServiceManager]:
    manager = ServiceManager(loop, listener.address, None)
    yield manager
    manager.close()


def run_until(loop: Loop, seconds: float) -> None:
    loop.call_later(seconds, loop.stop)
    loop.run()


def test_what_a_slow_manager_does_not_take_waits_in_order_and_beats_do_not() -> None:
    loop = Loop()
    with Listener() as listener, manager_for(listener, loop) as manager:
        for number in range(40):  # its socket takes about ten
            manager.tell(STATUS=number)
        manager.beat(WATCHDOG=1)
        while len(listener.read()) < 40:
            assert "WATCHDOG" not in listener.inbox[-1]
            run_until(loop, 0.26)
        assert [one["STATUS"] for one in listener.inbox] == [str(number) for number in range(40)]


def test_a_status_is_one_line_of_bounded_length() -> None:
    with Listener() as listener, manager_for(listener, Loop()) as manager:
        manager.tell(STATUS="a\nREADY=1\r\n b" + "\u00e9" * 5000 + "\udc80")
        (heard,) = listener.read(5)
    assert set(heard) == {"STATUS"}
    assert heard["STATUS"].startswith("a READY=1 b\u00e9")
    assert len(heard["STATUS"].encode()) <= 2048


def test_the_variables_leave_the_environment_and_a_foreign_watchdog_is_left_alone() -> None:
    for pid, expected in ((str(os.getpid()), 2.0), ("", 2.0), ("1", None), ("x", None)):
        environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": pid, "A": "b"}
        manager = ServiceManager.from_environ(Loop(), environ)
        assert environ == {"A": "b"}
        assert manager.is_there
        assert manager.watchdog == expected
        manager.close()
    assert not ServiceManager.from_environ(Loop(), {"WATCHDOG_USEC": "1"}).is_there
