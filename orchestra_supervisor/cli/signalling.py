"""The keeper as somebody to signal: opened, checked, and never known by its number alone."""

import os
import time
from pathlib import Path

from orchestra_supervisor.cli.holder import read_holder
from orchestra_supervisor.model.errors import WaitTimeout

__all__ = ["open_keeper"]

_PID_WAIT = 2.0  # seconds for a keeper that was just started to be named in its lock


def open_keeper(home: Path) -> int | None:
    """Return a pidfd of the keeper that holds a home, or None: it has ended, or cannot be seen from here.

    The lock is looked at again after the pidfd is there: then it was the holder's at that time.

    Raises:
        WaitTimeout: The lock is held, and its holder is not named in it.
    """
    until = time.monotonic() + _PID_WAIT
    while (holder := read_holder(home)) is not None:
        descriptor = holder.open()
        if descriptor is not None:
            if read_holder(home) == holder:
                return descriptor
            os.close(descriptor)
        elif holder.pid:
            return None
        if time.monotonic() > until:
            raise WaitTimeout(
                f"{home / 'lock'} is held, and does not name its keeper", hint="`fuser` tells who holds it"
            )
        time.sleep(0.02)
    return None
