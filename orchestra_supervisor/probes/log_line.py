"""The log check: passes once a line that the present run has written matches.

Files are read and lines matched in a thread. Each look goes on where the last one ended; what has been found
holds for the run, whatever becomes of the log.
"""

import time
from collections import deque
from functools import partial

import anyio
from anyio import to_thread

from orchestra_supervisor.logfile.lines import LogLine
from orchestra_supervisor.logfile.run_lines import RunLines
from orchestra_supervisor.model.checks import LogCheck
from orchestra_supervisor.model.line_pattern import LinePattern, compile_line_pattern
from orchestra_supervisor.probes.outcome import ProbeOutcome

__all__ = ["LINE_LIMIT", "MATCH_TIME", "LogSearch"]

LINE_LIMIT = 64 * 1024
"""Bytes of a line that are searched; the rest of it is not."""
MATCH_TIME = 0.5
"""Seconds that matching one line may take; a line that takes longer does not match. A sound pattern needs
less than a millisecond."""
_HANG_TIME = 10.0
"""Seconds past the timeout after which the thread is given up: the log's file system does not answer. Far
more than a step takes that is slow for other reasons, as what a thread has read is lost with it."""
_SHOWN = 80  # characters of the pattern in what people read


class _Reading:
    """What has been read of the run and not been matched yet. It belongs to one thread at a time."""

    def __init__(self, path: str, run: str, check: LogCheck) -> None:
        self._lines = RunLines(path, run)
        self._stream = check.stream
        self._pattern: LinePattern = compile_line_pattern(check.pattern)
        self._waiting: deque[LogLine] = deque()
        self.is_slow = False

    @property
    def is_done(self) -> bool:
        """True when nothing more was there to be matched."""
        return not self._waiting and self._lines.is_at_end

    def go_on(self, limit: float) -> bool:
        """Match the next lines, up to one that matches or takes too long; return whether one matches.

        Args:
            limit: Seconds after which the remaining lines are left for the next time.

        Raises:
            OSError: The log cannot be read.
        """
        end = time.monotonic() + limit
        if not self._waiting:
            self._waiting.extend(self._lines.read())
        while self._waiting:
            line = self._waiting.popleft()
            if self._stream not in ("any", line.stream):
                continue
            text = line.data[:LINE_LIMIT].decode("utf-8", "replace").removesuffix("\r")
            try:
                if self._pattern.search(text, concurrent=True, timeout=MATCH_TIME):
                    return True
            except (TimeoutError, MemoryError):
                self.is_slow = True
                break
            if time.monotonic() >= end:
                break
        return False


class LogSearch:
    """Looks for one check's line in the output of one run.

    Args:
        check: What is looked for.
        path: The service's log, which need not exist yet.
        run: Run id.
        threads: Bounds how many searches read at the same time.
    """

    def __init__(self, check: LogCheck, path: str, run: str, threads: anyio.CapacityLimiter) -> None:
        self._check = check
        self._path = path
        self._run = run
        self._threads = threads
        self._reading: _Reading | None = None
        self._shown = f"/{check.pattern[:_SHOWN]}{'...' if len(check.pattern) > _SHOWN else ''}/"
        self._has_passed = False

    async def look(self, timeout: float) -> ProbeOutcome:  # noqa: ASYNC109 - judged by it
        """Look at what is new; a negative result, a log that cannot be read among them, is a value.

        Args:
            timeout: Seconds after which the look ends and the next one goes on.
        """
        started = anyio.current_time()
        detail = f"a line matches {self._shown}"
        if not self._has_passed:
            try:
                detail = await self._search(started + timeout)
            except OSError as error:
                detail = f"the log cannot be read: {error.strerror or error}"
            except Exception as error:  # noqa: BLE001 - the edge: a check's fault must not end the prober
                detail = f"the check itself failed: {type(error).__name__}: {error}"
        return ProbeOutcome(self._has_passed, detail, anyio.current_time() - started)

    async def _search(self, deadline: float) -> str:
        # A thread that is given up keeps what it reads: the next look then begins anew.
        reading, self._reading = self._reading or _Reading(self._path, self._run, self._check), None
        go_on = partial(to_thread.run_sync, reading.go_on, abandon_on_cancel=True, limiter=self._threads)
        left = deadline - anyio.current_time()
        with anyio.move_on_after(left + _HANG_TIME) as waiting:
            while True:
                self._has_passed = await go_on(left)
                left = deadline - anyio.current_time()
                if self._has_passed or reading.is_done or left <= 0:
                    break
        if waiting.cancelled_caught:
            return "the log could not be read in time"
        self._reading = None if self._has_passed else reading
        if self._has_passed:
            return f"a line matches {self._shown}"
        slow = ""
        if reading.is_slow:
            slow = f"; one that took over {MATCH_TIME:g} s to match was passed over"
        return f"no line matches {self._shown} yet{slow}"
