"""The keeper's one thread: descriptors, timers, and hooks at the end of each turn.

It wakes only when something happened or is due. A callback that fails is reported and tried
again later; it never ends the loop.
"""

import heapq
import os
import select
import selectors
import time
from collections.abc import Callable
from contextlib import suppress

from orchestra_supervisor.journald import ERROR, WARNING, with_priority

__all__ = ["Loop", "Timer", "say"]

_RETRY_AFTER = 0.1  # seconds a descriptor rests after its callback failed, so that a fault cannot spin
_TIMERS = 256  # entries of the heap that are not worth a look for cancelled ones
_LINE_LIMIT = 4000  # bytes; below PIPE_BUF, so a pipe that polls as writable takes it without blocking


def say(text: str, priority: int = WARNING) -> None:
    """Write a line about the keeper itself to stderr, or drop it when stderr would block."""
    line = with_priority(f"orchestra keeper: {text}\n", priority).encode("utf-8", "replace")[:_LINE_LIMIT]
    with suppress(OSError):
        poller = select.poll()
        poller.register(2, select.POLLOUT)
        if poller.poll(0):
            os.write(2, line)


class Timer:
    """A call that is due once; made by `Loop.call_later`."""

    __slots__ = ("callback", "due_mono")

    def __init__(self, due_mono: float, callback: Callable[[], None]) -> None:
        self.due_mono = due_mono
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the call; harmless when it was made already."""
        self.callback = None


class Loop:
    """Calls back on readiness and time until `stop`.

    Args:
        patience: Factor on the waits that are the keeper's own; those of stop plans are not touched.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self.patience = patience
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = 0
        self._compact_at = _TIMERS
        self._hooks: list[Callable[[], None]] = []
        self._last_hooks: list[Callable[[], None]] = []
        self._running = False

    def watch(self, fd: int, callback: Callable[[int], None], events: int = selectors.EVENT_READ) -> None:
        """Call `callback(events)` whenever the descriptor is ready, until `unwatch`."""
        self._selector.register(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        """Stop watching; unknown descriptors are ignored. Call before the descriptor is closed."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def want_write(self, fd: int, *, wanted: bool) -> None:
        """Add or remove interest in writability of a watched descriptor."""
        key = self._selector.get_map().get(fd)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
        if key is not None and key.events != events:
            self._selector.modify(fd, events, key.data)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once after `delay` seconds."""
        timer = Timer(time.monotonic() + delay, callback)
        self._serial += 1
        if len(self._timers) >= self._compact_at:  # cancelled ones may be due in a year
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._compact_at = max(_TIMERS, 2 * len(self._timers))
        heapq.heappush(self._timers, (timer.due_mono, self._serial, timer))
        return timer

    def at_turn_end(self, hook: Callable[[], None]) -> None:
        """Call `hook` after the callbacks of every turn, in the order of registration."""
        self._hooks.append(hook)

    def at_turn_close(self, hook: Callable[[], None]) -> None:
        """Call `hook` after all those of `at_turn_end`: what it does can rely on the turn being over."""
        self._last_hooks.append(hook)

    def stop(self) -> None:
        """End `run` after this turn."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            for key, events in self._selector.select(self._patience()):
                # An earlier callback of this turn may have closed the descriptor, or reused its number.
                current = self._selector.get_map().get(key.fd)
                if (current is None or current.data is not key.data) or self.guarded(key.data, events):
                    continue
                self._rest(key)
            self._run_timers()
            for hook in (*self._hooks, *self._last_hooks):
                self.guarded(hook)

    def guarded(self, callback: Callable[..., None], *args: object) -> bool:
        """Call, and report instead of raising. Returns True when it succeeded."""
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001  # whatever one event does, every other run still needs its keeper
            say(f"a fault of ours, please report it:\n{_account(error)}", ERROR)
            return False
        return True

    def _patience(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self.guarded(callback)

    def _rest(self, key: selectors.SelectorKey) -> None:
        current = self._selector.get_map().get(key.fd)
        if current is None or current.data is not key.data:
            return
        self.unwatch(key.fd)

        def resume() -> None:
            with suppress(KeyError, ValueError, OSError):  # closed or watched anew in the meantime
                os.fstat(key.fd)
                self.watch(key.fd, key.data, key.events)

        self.call_later(_RETRY_AFTER, resume)


def _account(error: BaseException) -> str:
    """Return where an error came from, and of what; `traceback` is 170 KB of memory for the same."""
    lines = [f"{type(error).__name__}: {error}"]
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    cause = error.__cause__ or error.__context__
    return "\n".join([*lines, *([f"of {_account(cause)}"] if cause is not None else [])])
