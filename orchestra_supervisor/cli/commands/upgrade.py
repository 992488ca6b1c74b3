"""`orchestra upgrade-daemon`: the next daemon from the code that is installed now, services untouched."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from orchestra_supervisor.cli.connection import home_of, no_answer
from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.launch import LOG_NAME
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.signalling import open_keeper
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.cli.words import seconds_of
from orchestra_supervisor.control_client import ControlClient, ControlError
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.model.errors import ControlDenied

__all__ = ["configure", "run"]

_POLL = 0.05  # seconds between two questions for the next daemon
_LIMIT = 5.0  # seconds for an answer
_TAIL = 2_000  # bytes of what keeper and daemon wrote that are shown


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.option("--timeout", type=seconds_of, default=30.0, metavar="S", help="longest wait (default: 30s)")
    parser.json_option()


def run(options: Options) -> int:
    """Replace the daemon; 0 when the next one answers and no service has another pid."""
    home = Path(home_of(options.home))
    keeper = open_keeper(home)
    if keeper is None:
        if keeper_pid_of(home) is None:
            raise no_answer(home)
        raise ActionFailed(
            f"the keeper of {home} is not to be seen from here", hint="run it in the container of the fleet"
        )
    try:
        before = _status(home)
        log = home / LOG_NAME
        written = log.stat().st_size if log.exists() else 0
        began = time.monotonic()
        _tell(keeper)
        after = _wait(home, before, began + options.timeout)
    finally:
        os.close(keeper)
    took = time.monotonic() - began
    if after is None:
        _show(log, written)
        raise ActionFailed(
            f"the next daemon does not answer after {took:.1f} s",
            hint=f"services run on; the keeper goes on trying. See {log}, or install the old version again",
        )
    replaced = _replaced(before, after)
    if options.is_json:
        answer = {"before": _facts(before), "after": _facts(after), "took": took, "replaced": replaced}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        arrow = "→" if Terminal(sys.stdout, os.environ).is_unicode else "->"
        sys.stdout.write(f"daemon {_name(before)} {arrow} {_name(after)} in {took:.1f} s\n")
        if before is not None and not replaced:
            count = sum(1 for service in after.services if service.pid)
            sys.stdout.write(f"no service was restarted: {count} run on with the pids they had\n")
    if replaced:
        sys.stdout.flush()
        _show(log, written)
        raise ActionFailed(
            f"other pids than before: {', '.join(replaced)}",
            hint="`orchestra events` tells whether they ended by themselves meanwhile",
        )
    return 0


def _tell(keeper: int) -> None:
    try:
        signal.pidfd_send_signal(keeper, signal.SIGUSR2)
    except PermissionError as error:
        raise ControlDenied(
            f"uid {os.getuid()} may not signal the keeper", hint="run it as the owner of the fleet"
        ) from error


def _status(home: Path) -> StatusView | None:
    try:
        return StatusView(ControlClient(socket_path(home), timeout=_LIMIT).status())
    except ControlError:
        return None


def _wait(home: Path, before: StatusView | None, until: float) -> StatusView | None:
    """Return what another daemon than the one before says, or None: none does in time."""
    while time.monotonic() < until:
        status = _status(home)
        if status is not None and (before is None or status.daemon.pid != before.daemon.pid):
            return status
        if keeper_pid_of(home) is None:
            raise no_answer(home)
        time.sleep(_POLL)
    return None


def _replaced(before: StatusView | None, after: StatusView) -> list[str]:
    now = {service.name: service.pid for service in after.services}
    services = before.services if before is not None else []
    return [one.name for one in services if one.pid and one.name in now and now[one.name] != one.pid]


def _show(log: Path, written: int) -> None:
    """Show the last of what came into the log of keeper and daemon after an offset."""
    try:
        with log.open("rb") as file:
            file.seek(max(written, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return  # a keeper that was started with --exec writes elsewhere
    sys.stderr.writelines(f"{make_visible(line)}\n" for line in text.splitlines())


def _facts(status: StatusView | None) -> dict[str, object] | None:
    return None if status is None else {"pid": status.daemon.pid, "version": status.daemon.version}


def _name(status: StatusView | None) -> str:
    return "that did not answer" if status is None else f"{status.daemon.pid} ({status.daemon.version})"
