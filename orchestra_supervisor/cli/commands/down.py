"""`orchestra down`: stop every service in order, then daemon, logger and keeper."""

import os
import select
import signal
import sys
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from orchestra_supervisor.cli.connection import client_of, home_of
from orchestra_supervisor.cli.holder import read_holder
from orchestra_supervisor.cli.live import stopping_frame
from orchestra_supervisor.cli.parser import CommandParser, seconds_of
from orchestra_supervisor.cli.screen import Screen
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.control_client import ControlClient, ControlError, NoDaemon, socket_path
from orchestra_supervisor.model.errors import WaitTimeout

__all__ = ["configure", "run"]

_FRAME = 0.1  # seconds
_PID_WAIT = 2.0  # seconds for a keeper that was just started to be named in its lock


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.option(
        "--timeout",
        type=seconds_of,
        default=120.0,
        metavar="S",
        help="longest wait (default: 2m)",
    )
    parser.option("--reason", default="", metavar="TEXT", help="why, for the journal")


def run(options: Namespace) -> int:
    """Stop the fleet and wait until its keeper has ended; 0 also where none runs."""
    home = home_of(options.home)
    screen = Screen(Terminal(sys.stderr, os.environ))
    if read_holder(home) is None:
        screen.say([f"no fleet runs on {home}: nothing to stop"])
        return 0
    keeper = _open_keeper(home)
    try:
        began = time.monotonic()
        _ask(home, keeper, options.reason, screen)
        _watch(home, keeper, options.timeout, began, screen)
    finally:
        screen.end_region()
        if keeper is not None:
            os.close(keeper)
    screen.say([f"all stopped in {time.monotonic() - began:.1f} s"])
    return 0


def _open_keeper(home: Path) -> int | None:
    """Return a pidfd of the keeper that holds a home, or None: it has ended, or cannot be seen from here.

    The lock is looked at again after the pidfd is there: then it was the holder's at that time.
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


def _ask(home: Path, keeper: int | None, reason: str, screen: Screen) -> None:
    try:
        client_of(home).shutdown(reason)
    except NoDaemon:
        if keeper is None:
            raise  # a process that cannot be seen from here is not signalled by its number
        # The keeper stops everything by itself where no daemon comes back.
        screen.say(["the daemon does not answer: telling the keeper"])
        try:
            signal.pidfd_send_signal(keeper, signal.SIGTERM)
        except ProcessLookupError:
            return


def _has_ended(home: Path, keeper: int | None) -> bool:
    """Wait for a frame's time and return whether the keeper has ended."""
    if keeper is None:
        time.sleep(_FRAME)
        return read_holder(home) is None
    end = select.poll()
    end.register(keeper, select.POLLIN)
    return bool(end.poll(_FRAME * 1_000))


def _watch(home: Path, keeper: int | None, timeout: float, began: float, screen: Screen) -> None:
    until = time.monotonic() + timeout
    status: StatusView | None = None
    while not _has_ended(home, keeper):
        # Where the daemon has gone, or just goes, the last answer stays on the screen.
        with suppress(ControlError, ValueError):
            status = StatusView(ControlClient(socket_path(home), timeout=5.0).status())
        if screen.is_live:
            now, took = time.time(), time.monotonic() - began
            screen.show(stopping_frame(status, screen.terminal, now, took, "stopping in order"))
        if time.monotonic() > until:
            left = [one.name for one in status.services if one.pid] if status else []
            raise WaitTimeout(
                f"the fleet on {home} has not ended within {timeout:g} s"
                + (f"; still there: {', '.join(left)}" if left else ""),
                hint="it goes on stopping; `orchestra status` shows what is left",
            )
