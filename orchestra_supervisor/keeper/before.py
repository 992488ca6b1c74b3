"""What runs before the program: commands, one after another, by the very process that then becomes it.

So they are of the run in every way: its user, its limits, its output, its group; and they need nobody to
remember them when a daemon dies. A failure travels as stage `pre_start` with a number that says how it ended.
"""

import errno
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from orchestra_supervisor.keeper.request import Command

__all__ = ["BeforeFailed", "outcome_text", "run_before"]

_EXITED = 0x1_0000
_SIGNALLED = 0x2_0000
_POLL = 0.02  # seconds between looks where there is no pidfd


class BeforeFailed(Exception):
    """A command did not do its work.

    Attributes:
        number: How it ended: see `outcome_text`.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_before(command: Command, execute: Callable[[list[bytes]], object]) -> None:
    """Run one command to its end.

    Args:
        command: What to run, and how long it may take.
        execute: Replaces the process by a program, or raises OSError.

    Raises:
        BeforeFailed: It could not be executed, took too long, or did not exit with 0.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        _become(command.argv, execute, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as report:
        ended = _wait(pid, command.timeout)
        if ended is None:
            os.kill(pid, signal.SIGKILL)  # our own child, not reaped yet
            os.waitpid(pid, 0)
            raise BeforeFailed(errno.ETIMEDOUT)
        os.set_blocking(report.fileno(), False)
        number = int.from_bytes(report.read(4) or b"", "big")
    if number:
        raise BeforeFailed(number)
    if os.WIFSIGNALED(ended):
        raise BeforeFailed(_SIGNALLED + os.WTERMSIG(ended))
    if os.WEXITSTATUS(ended):
        raise BeforeFailed(_EXITED + os.WEXITSTATUS(ended))


def outcome_text(number: int) -> str:
    """Say how a command ended that failed."""
    if number >= _SIGNALLED:
        return f"killed by signal {number - _SIGNALLED}"
    if number >= _EXITED:
        return f"exit code {number - _EXITED}"
    return "took too long and was killed" if number == errno.ETIMEDOUT else os.strerror(number)


def _become(argv: list[bytes], execute: Callable[[list[bytes]], object], report: int) -> None:
    try:
        execute(argv)
    except OSError as error:
        os.write(report, (error.errno or errno.EINVAL).to_bytes(4, "big"))
    finally:
        os._exit(127)


def _wait(pid: int, timeout: float) -> int | None:
    """Return the status of a child, or None when it has not ended in time."""
    end = time.monotonic() + timeout
    pidfd = None
    with suppress(OSError, AttributeError):
        pidfd = os.pidfd_open(pid)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        left = end - time.monotonic()
        if left <= 0:
            return None
        if pidfd is None:
            time.sleep(min(left, _POLL))
        else:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            poller.poll(min(left, 86_400.0) * 1000 + 1)
