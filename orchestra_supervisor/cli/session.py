"""A fleet watched from outside: its keeper, its events, its status, and the user's signals, in one loop."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Self

from orchestra_supervisor.cli.feed import EventFeed
from orchestra_supervisor.cli.shapes import EventView, StatusView
from orchestra_supervisor.control_client import ControlClient, ControlError
from orchestra_supervisor.control_home import socket_path

__all__ = ["STOP_SIGNALS", "Session", "SignalBox"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REFRESH = 1.0  # seconds after which status is asked for even when no event came, while somebody waits
_MOST_OFTEN = 0.1  # seconds between two questions for status while events pour in


class SignalBox:
    """Signals as data: caught from `with` on, taken out one by one, and waking a selector."""

    def __init__(self) -> None:
        self._caught: list[int] = []
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, signal.SIGWINCH):
            before = signal.getsignal(number)
            if number == signal.SIGHUP and before == signal.SIG_IGN:
                continue  # nohup: the user wants us to outlive the terminal
            self._before[number] = before
            signal.signal(number, self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what signal() returned
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self._caught.append(number)

    def fileno(self) -> int:
        """Return a descriptor that is readable after a signal."""
        return self._reader

    def take(self) -> list[int]:
        """Return the stop signals that have come since the last call."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 64):
                pass
        caught, self._caught = self._caught, []
        return [number for number in caught if number != signal.SIGWINCH]


class Session:
    """What is known of a fleet while somebody watches.

    Args:
        home: State directory.
        keeper: The keeper, a child of ours.
        box: Where signals arrive.
        began: Wall seconds; earlier events are of another fleet.
    """

    def __init__(self, home: Path, keeper: subprocess.Popen[bytes], box: SignalBox, began: float) -> None:
        self.home = home
        self.keeper = keeper
        self.began = began
        self.status: StatusView | None = None
        self.is_awaited = True
        """False while nothing is waited for: then status is asked for when an event came, and else never."""
        self.events: list[EventView] = []
        """Those that came with the last step."""
        self._box = box
        self._feed = EventFeed(home, began)
        self._pidfd = os.pidfd_open(keeper.pid)
        self._selector = selectors.DefaultSelector()
        for source in (self._pidfd, box.fileno(), self._feed.fileno()):
            self._selector.register(source, selectors.EVENT_READ)
        self._began = time.monotonic()
        self._asked = 0.0
        self._is_stale = True

    def close(self) -> None:
        """Give back what it holds; the keeper is left as it is."""
        self._selector.close()
        os.close(self._pidfd)

    def step(self, timeout: float) -> list[int]:
        """Wait for something to happen, at most `timeout` seconds, and bring everything up to date.

        Returns:
            The stop signals that came.
        """
        if self._is_stale:
            timeout = min(timeout, max(0.0, self._asked + _MOST_OFTEN - time.monotonic()))
        self._selector.select(timeout)
        self.events = self._feed.take()
        now = time.monotonic()
        is_old = self.is_awaited and now - self._asked > _REFRESH
        self._is_stale = self._is_stale or bool(self.events) or is_old
        if self._is_stale and now - self._asked >= _MOST_OFTEN:
            self._ask()
        return self._box.take()

    def age(self) -> float:
        """Return the seconds since the watching began."""
        return time.monotonic() - self._began

    def is_over(self) -> bool:
        """Return whether the keeper has ended."""
        return self.keeper.poll() is not None

    def send(self, number: int) -> None:
        """Send a signal to the keeper."""
        self.keeper.send_signal(number)

    def run_until(self, is_done: Callable[[], bool], tick: float, on_step: Callable[[], None]) -> list[int]:
        """Step until a condition holds, a stop signal comes, or the keeper ends.

        Returns:
            The stop signals that ended it, or nothing.
        """
        while not self.is_over() and not is_done():
            signals = self.step(tick)
            on_step()
            if signals:
                return signals
        return []

    def _ask(self) -> None:
        self._asked = time.monotonic()
        try:
            answer = ControlClient(socket_path(self.home), timeout=5.0).status()
        except (ControlError, ValueError):
            return  # between two daemons the last answer is the best there is
        status = StatusView(answer)
        if status.daemon.keeper_pid in {
            None,
            self.keeper.pid,
        }:  # else: left over from a keeper that was killed
            self.status = status
            self._is_stale = False
