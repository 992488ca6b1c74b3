"""`orchestra down`: stop every service in order, then daemon, logger and keeper."""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from orchestra_supervisor.cli.connection import client_of, home_of
from orchestra_supervisor.cli.holder import read_holder
from orchestra_supervisor.cli.live import stopping_frame
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.screen import Screen
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.signalling import open_keeper
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import seconds_of
from orchestra_supervisor.control_client import ControlClient, ControlError, NoDaemon
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.model.errors import WaitTimeout

__all__ = ["configure", "run"]

_FRAME = 0.1  # seconds


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


def run(options: Options) -> int:
    """Stop the fleet and wait until its keeper has ended; 0 also where none runs."""
    home = Path(home_of(options.home))
    screen = Screen(Terminal(sys.stderr, os.environ))
    if read_holder(home) is None:
        screen.say([f"no fleet runs on {home}: nothing to stop"])
        return 0
    keeper = open_keeper(home)
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
