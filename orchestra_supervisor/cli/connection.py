"""Reaching the daemon, also while it is being replaced.

The keeper holds a lock on the home for as long as the fleet lives. While it is held, a
missing or closed socket means that the next daemon is on its way: reads are asked again,
and so is a verb that nobody accepted. A verb that was accepted is never sent twice.
"""

import os
import time
from collections.abc import Callable

from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.control_client import ControlClient, Json, NoDaemon
from orchestra_supervisor.control_home import find_home, socket_path

__all__ = ["RETRY_FOR", "ask", "client_of", "home_of", "no_answer"]

RETRY_FOR = 2.0
"""Seconds that a command waits for a daemon which the keeper is bringing back."""
_RETRY_EVERY = 0.05
_NOT_ACCEPTED = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


def home_of(option: str | None) -> str:
    """Return the state directory that this command means; it need not exist."""
    return find_home(os.getcwd(), os.environ, option)


def client_of(home: str | os.PathLike[str], *, retry_for: float = RETRY_FOR) -> ControlClient:
    """Return a client that waits for a daemon on its way only where a keeper holds the home."""
    wait = retry_for if keeper_pid_of(home) is not None else 0.0
    return ControlClient(socket_path(home), connect_wait=wait)


def ask(home: str | os.PathLike[str], call: Callable[[ControlClient], Json], *, is_read: bool = True) -> Json:
    """Make one call.

    Args:
        home: The state directory.
        call: What to ask; for a read it may be called several times.
        is_read: False for verbs: then an answer that was cut off is not asked for again.

    Raises:
        NoDaemon: Nobody answers; says whether a keeper runs.
        ControlError: The daemon's refusal.
    """
    until = time.monotonic() + RETRY_FOR
    while True:
        try:
            return call(client_of(home, retry_for=max(0.0, until - time.monotonic())))
        except NoDaemon as error:
            was_accepted = not isinstance(error.__cause__, _NOT_ACCEPTED)
            if was_accepted and not is_read:
                raise  # nobody knows whether it was carried out: that is for the user to look at
            if keeper_pid_of(home) is None or time.monotonic() >= until:
                raise no_answer(home) from error
            time.sleep(_RETRY_EVERY)


def no_answer(home: str | os.PathLike[str]) -> NoDaemon:
    """Return the error for a home on which nobody answers."""
    keeper = keeper_pid_of(home)
    if keeper is None:
        return NoDaemon(f"no fleet runs on {home}", "start one with `orchestra up`, or name another --home")
    who = f"pid {keeper}" if keeper else "pid not written yet"
    return NoDaemon(
        f"the keeper ({who}) of {home} runs, and its daemon does not answer: it is on its way back",
        f"the services run on; ask again, or look into {os.path.join(home, 'supervisor.log')}",
    )
