"""Inputs: what is written into the stdin of runs, whose far ends are held here so that none sees its end.

What a run does not read at once waits here, within a bound: nobody waits for it.
"""

import errno
import os
import selectors
from dataclasses import dataclass, field

from orchestra_supervisor.keeper.loop import Loop
from orchestra_supervisor.keeper.runs import Run

__all__ = ["INPUT_LIMIT", "InputFull", "Inputs", "NoInput"]

INPUT_LIMIT = 1024 * 1024
"""Bytes that may wait for one run, besides those in the pipe."""


class NoInput(Exception):
    """A run has no input: it was given none, or it has closed it or has ended."""


class InputFull(Exception):
    """A run does not read what waits for it already."""


@dataclass(slots=True, eq=False)
class _Input:
    """The stdin of one run."""

    fd: int
    """Write end of its stdin, non-blocking."""
    waiting: bytearray = field(default_factory=bytearray)
    """Watched for room as long as this holds anything."""


class Inputs:
    """The write ends of the inputs of all runs.

    Args:
        loop: The keeper's loop.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._inputs: dict[Run, _Input] = {}

    def hold(self, run: Run, fd: int) -> None:
        """Take the write end of a run's stdin, which is ours from now on."""
        self._inputs[run] = _Input(fd)

    def write(self, run: Run, data: bytes) -> None:
        """Write to a run, after what it was written before.

        Raises:
            NoInput: Nobody can read it.
            InputFull: Nothing of it was written: too much waits already.
        """
        one = self._inputs.get(run)
        if one is None:
            raise NoInput
        if one.waiting and len(one.waiting) + len(data) > INPUT_LIMIT:
            raise InputFull
        was_waiting = bool(one.waiting)
        one.waiting += data
        if not was_waiting and not self._flush(run, one):
            raise NoInput
        if not was_waiting and one.waiting:
            self._loop.watch(one.fd, lambda _events: self._has_room(run, one), selectors.EVENT_WRITE)

    def end(self, run: Run) -> None:
        """Close the input of a run; what waits for it is dropped."""
        one = self._inputs.pop(run, None)
        if one is not None:
            self._loop.unwatch(one.fd)
            os.close(one.fd)

    def _has_room(self, run: Run, one: _Input) -> None:
        if self._flush(run, one) and not one.waiting:
            self._loop.unwatch(one.fd)

    def _flush(self, run: Run, one: _Input) -> bool:
        """Write what the pipe takes. Returns False when nobody reads it any more; it is closed then."""
        try:
            del one.waiting[: os.write(one.fd, one.waiting)]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            self.end(run)
            return False
        return True
