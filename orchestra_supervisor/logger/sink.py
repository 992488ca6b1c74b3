"""One log and the pipes that flow into it, on good days and on bad ones.

A file that cannot be written begins an episode. At first the bytes wait in their pipes (the
service may block, for `HOLD` seconds at most); then they are thrown away and counted, so that the
service goes on, until writing works again. What is thrown away is marked in the index and reported.
"""

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from orchestra_supervisor.logfile.index import Flag
from orchestra_supervisor.logger.copies import Copies
from orchestra_supervisor.logger.directory import LOCK_RETRY, LockBusy
from orchestra_supervisor.logger.drops import Drops
from orchestra_supervisor.logger.logfile import CHUNK, LINE_WAIT, LogFile
from orchestra_supervisor.logger.options import Options, Treatment
from orchestra_supervisor.logger.pipe import Peeker, Pipe
from orchestra_supervisor.logger.raw import Raw
from orchestra_supervisor.logger.redaction import NOTHING, Redactor
from orchestra_supervisor.logger.relay import Relays
from orchestra_supervisor.logger.timers import Timer, Timers
from orchestra_supervisor.logger.treated import Lines, LinesAround

__all__ = ["HOLD", "LOCK_HOLD", "RETRY", "Sink", "Surroundings"]

HOLD = 2.0
"""Seconds that bytes wait for a file that cannot be written before they are thrown away."""
RETRY = 0.25
"""Seconds between two attempts to write."""
LOCK_HOLD = 30.0
"""Seconds that bytes wait for another logger to let go of the directory."""

_CHECK_INTERVAL = 1.0  # seconds between two looks at whether the path still names this file
_ROTATE_RETRY = 5.0  # seconds after a rotation that failed
_SAME_EPISODE = 5.0  # seconds within which a new failure is not told again: a disk that is full to the brim


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a sink needs of its loop.

    Attributes:
        timers: For retries and reports.
        peeker: Looks into pipes.
        relays: Send lines further.
        copies: Write bytes to further files.
        watch: Wait for a pipe, if that is not done already.
        unwatch: Do not wait for it any more.
        event: Tell the keeper: kind and the keys it carries.
        eof: Tell the keeper that all of a pipe is in the file.
    """

    timers: Timers
    peeker: Peeker
    relays: Relays
    copies: Copies
    watch: Callable[["Sink", Pipe], None]
    unwatch: Callable[[Pipe], None]
    event: Callable[[str, dict[str, object]], None]
    eof: Callable[[Pipe], None]


@dataclass(slots=True)
class _Episode:
    """A time during which the file cannot be written."""

    is_lock: bool
    hold_until: float
    last_try: float
    is_dropping: bool = False


class Sink:
    """Moves bytes from pipes to one log.

    Args:
        log: The log, not yet open.
        around: The loop.
    """

    def __init__(self, log: LogFile, around: Surroundings) -> None:
        self.log = log
        self.pipes: list[Pipe] = []
        self._around = around
        self._episode: _Episode | None = None
        self._reason = ""
        self._unmarked = False
        self._drops = Drops(around.timers, self._tell_dropped)
        self._recovered_at = float("-inf")
        self._next_check = 0.0
        self._next_rotation = 0.0
        self._treatment = Treatment()
        self._raw = Raw(log)
        self._lines: Lines | None = None
        """Made when somebody has to look at lines: most logs have none."""
        self._is_hurried = False
        self._age_timer: Timer | None = None

    @property
    def is_done(self) -> bool:
        """True when nothing flows into it and nothing has to be told or remembered any more."""
        is_told = not self._drops.unreported and (self._lines is None or self._lines.is_done)
        return not self.pipes and self._episode is None and is_told

    def configure(self, options: Options) -> None:
        """Go on with other options from here on."""
        self.log.rotation = options.rotation
        self._next_check = 0.0  # whoever has put another file in the place of the log says so by this
        self._treatment = options.treatment
        if self._lines is not None:
            self._lines.configure(options.treatment)
        for pipe in self.pipes:
            self._set_redactor(pipe)
        self._forget_age()
        self._watch_age()

    def add(self, pipe: Pipe) -> None:
        """Let a pipe flow into the log from now on."""
        self._set_redactor(pipe)
        self.pipes.append(pipe)
        if self._episode is None and not self.log.is_open:
            try:
                self._open()
            except OSError as error:
                self._fail(error)
        if self._episode is None or self._episode.is_dropping:
            self._around.watch(self, pipe)

    def on_readable(self, pipe: Pipe) -> int:
        """Move what a pipe holds, one turn of it.

        Returns:
            How many bytes left the pipe.
        """
        now = time.monotonic()
        episode = self._episode
        if episode is not None and episode.is_dropping and now - episode.last_try < RETRY:
            return self._drop(pipe)
        try:
            moved = self._move(pipe, now)
        except OSError as error:
            self._fail(error)
            return self._drop(pipe) if episode is not None and self._episode is episode else 0
        if moved and episode is not None:
            self._recover()
        return moved

    def _set_redactor(self, pipe: Pipe) -> None:
        secrets = pipe.secrets if self._treatment.redact_secrets else ()
        is_idle = not (self._treatment.redact or secrets)
        pipe.redactor = NOTHING if is_idle else Redactor(self._treatment.redact, secrets)

    def _pause(self, pipe: Pipe, delay: float) -> None:
        """Leave a pipe alone for a time, though it holds something."""
        self._around.unwatch(pipe)
        self._around.timers.after(delay, partial(self._resume, pipe))

    def _resume(self, pipe: Pipe) -> None:
        if pipe in self.pipes and (self._episode is None or self._episode.is_dropping):
            self._around.watch(self, pipe)

    def drain(self, pipe: Pipe, size: int) -> None:
        """Move what was in a pipe when this was asked, as far as it can be written."""
        self._is_hurried = True
        if self._lines is not None:
            self._lines.is_hurried = True
        while size > 0 and pipe.fd >= 0 and self._episode is None:
            moved = self.on_readable(pipe)
            if not moved:
                return
            size -= moved

    def close(self) -> None:
        """Report what has not been reported, and close the log."""
        self._drops.report()
        if self._lines is not None:
            self._lines.report()
        self._forget_age()
        self.log.close()

    def _open(self) -> None:
        is_repaired = self.log.open()
        self._next_check = time.monotonic() + _CHECK_INTERVAL
        self._raw.can_splice = True
        if is_repaired:
            self._around.event("recovered", {"path": self.log.path})
        self._watch_age()
        if self.log.complaint:
            self._tell_unwritable(f"the index cannot be written, the log can: {self.log.complaint}")

    def _move(self, pipe: Pipe, now: float) -> int:
        """Move bytes, rotating and opening as needed.

        Raises:
            OSError: The log cannot be written. What was not written is still in the pipe.
        """
        log = self.log
        if not log.is_open:
            self._open()
        elif now >= self._next_check:
            self._next_check = now + _CHECK_INTERVAL
            log.refresh()
        self._rotate(now)
        self._raw.room = log.room() if now >= self._next_rotation else CHUNK
        try:
            moved = self._way(pipe).move(pipe, self._marker())
        except BlockingIOError:  # nothing there after all
            return 0
        if not moved:
            self._finish(pipe)
            return 0
        self._unmarked = False
        self._rotate(now)
        self._watch_age()
        return moved

    def _marker(self) -> int:
        return int(Flag.DROPPED) if self._unmarked else 0

    def _way(self, pipe: Pipe) -> Raw | Lines:
        """Return how bytes come from a pipe into the log: through the kernel, unless somebody has to look."""
        if not self._treatment.needs_lines and pipe.redactor.is_idle:
            return self._raw
        if self._lines is None:
            loop = self._around
            around = LinesAround(loop.timers, loop.peeker, self._pause, loop.event, loop.relays, loop.copies)
            self._lines = Lines(self.log, self._treatment, around)
            self._lines.is_hurried = self._is_hurried
        return self._lines

    def _rotate(self, now: float) -> None:
        if now < self._next_rotation:
            return
        try:
            segment = self.log.rotate_if_due()
        except OSError as error:
            if not self.log.is_open:
                raise
            # The directory cannot be changed, the file can be written: too long a log is better than none.
            self._next_rotation = now + _ROTATE_RETRY
            self._tell_unwritable(f"the log cannot be rotated and grows on: {error.strerror}")
            return
        if segment:
            self._around.event("rotated", {"path": self.log.path, "segment": segment})

    def _finish(self, pipe: Pipe) -> None:
        """A pipe has come to its end: no writer is left."""
        if self.log.is_open:
            with suppress(OSError):  # the record is a service to readers; the bytes are all there
                if self._lines is not None:
                    self._lines.finish(pipe)
                self.log.end(pipe.number, pipe.code, self._marker())
                self._unmarked = False
        self._around.unwatch(pipe)
        self.pipes.remove(pipe)
        os.close(pipe.fd)
        pipe.fd = -1
        self._around.eof(pipe)
        if not self.pipes:
            self._forget_age()
            self.log.close()
            self._around.copies.release(target.path for target in self._treatment.files)

    def _watch_age(self) -> None:
        """Wake when the segment will be old: one timer, and none while the log is empty."""
        due = self.log.age_due() if self.log.is_open else 0.0
        if not due or self._age_timer is not None:
            return
        delay = due - time.time()
        delay = min(delay, self.log.rotation.max_age) if delay > 0 else LINE_WAIT
        self._age_timer = self._around.timers.after(delay, self._on_age)

    def _on_age(self) -> None:
        self._age_timer = None
        if self.log.is_open and self._episode is None:
            try:
                self._rotate(time.monotonic())
            except OSError as error:
                self._fail(error)
            self._watch_age()

    def _forget_age(self) -> None:
        if self._age_timer is not None:
            self._around.timers.cancel(self._age_timer)
            self._age_timer = None

    def _fail(self, error: OSError) -> None:
        """The log could not be opened or written."""
        now = time.monotonic()
        is_lock = isinstance(error, LockBusy)
        self._reason = f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, 'unknown')})"
        episode = self._episode
        if episode is None or (episode.is_lock and not is_lock):
            self._episode = episode = _Episode(is_lock, now + (LOCK_HOLD if is_lock else HOLD), now)
            if not is_lock and now - self._recovered_at >= _SAME_EPISODE:
                self._tell_unwritable(self._reason)
            for pipe in self.pipes:
                self._around.unwatch(pipe)
        episode.last_try = now
        if episode.is_dropping:
            return
        if now < episode.hold_until:
            self._around.timers.after(LOCK_RETRY if is_lock else RETRY, self._retry)
            return
        if episode.is_lock:
            self._tell_unwritable(self._reason)
        episode.is_dropping = True
        for pipe in self.pipes:
            self._around.watch(self, pipe)

    def _retry(self) -> None:
        """Try again while the bytes wait."""
        if self._episode is None or self._episode.is_dropping:
            return
        try:
            if not self.log.is_open:
                self._open()
            for pipe in list(self.pipes):
                self._move(pipe, time.monotonic())
        except OSError as error:
            self._fail(error)
            return
        self._recover()

    def _recover(self) -> None:
        """Writing works again."""
        self._episode = None
        self._recovered_at = time.monotonic()
        for pipe in self.pipes:
            self._around.watch(self, pipe)
        self._drops.over()

    def _drop(self, pipe: Pipe) -> int:
        """Throw away what a pipe holds, one turn of it, and count it."""
        size = len(pipe.held)
        pipe.held, pipe.unfinished_since = b"", 0.0
        try:
            size = size or len(os.read(pipe.fd, CHUNK))
        except BlockingIOError:
            return 0
        if not size:
            self._finish(pipe)
            return 0
        self._drops.add(size)
        self._unmarked = True
        return size

    def _tell_dropped(self, size: int, since_wall: float) -> None:
        facts = {"path": self.log.path, "bytes": size, "since_wall": since_wall, "reason": self._reason}
        self._around.event("dropped", dict(facts))

    def _tell_unwritable(self, reason: str) -> None:
        self._around.event("unwritable", {"path": self.log.path, "reason": reason})
