"""`orchestra events`: what happened, and as it happens."""

import json
import os
import sys
import time
from collections.abc import Iterator

from orchestra_supervisor.cli.connection import RETRY_FOR, ask, client_of, home_of, no_answer
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.render import event_line
from orchestra_supervisor.cli.shapes import EventView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.trail import EventTrail
from orchestra_supervisor.cli.words import whole_of
from orchestra_supervisor.control_client import Json, NoDaemon, rows

__all__ = ["configure", "follow", "run"]

_RETRY_EVERY = 0.05


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.option("-f", "--follow", action="store_true", help="go on with new events as they come")
    parser.option(
        "-n", "--lines", type=whole_of, default=50, metavar="N", help="newest N events (default: 50)"
    )
    parser.option("--service", metavar="NAMES", help="of one service")
    parser.option("--kind", metavar="PREFIX", help="of one kind: service.failed, control, ...")
    parser.json_option()


def run(options: Options) -> int:
    """Print the newest events, then follow where asked to."""
    home = home_of(options.home)
    terminal = Terminal(sys.stdout, os.environ)
    filters = {"service": options.service, "kind": options.kind}
    answer = ask(home, lambda client: client.events(limit=max(1, options.lines), **filters))
    found = rows(answer, "events")[-options.lines :] if options.lines else []
    if options.is_json and not options.follow:
        sys.stdout.write(json.dumps({**answer, "events": found}, indent=2, ensure_ascii=False) + "\n")
        return 0
    for row in found:
        _print(row, terminal, is_json=options.is_json)
    if options.follow:
        last = answer.get("last")
        for row in follow(home, last if isinstance(last, int) else 0, options.service, options.kind):
            _print(row, terminal, is_json=options.is_json)
    return 0


def _print(row: Json, terminal: Terminal, *, is_json: bool) -> None:
    text = json.dumps(row, ensure_ascii=False) if is_json else event_line(EventView(row), terminal)
    terminal.line(text)


def follow(home: str, after: int, service: str | None = None, kind: str | None = None) -> Iterator[Json]:
    """Yield events after a sequence number, across any number of daemons, until the fleet is down.

    Raises:
        NoDaemon: The keeper holds the home and no daemon came back for a while.
    """
    trail = EventTrail(after)
    silent_since = time.monotonic()
    while True:
        try:
            for row in trail.stream(client_of(home), service, kind):
                silent_since = time.monotonic()
                yield row
        except NoDaemon:
            if keeper_pid_of(home) is None:
                return
            if time.monotonic() - silent_since > RETRY_FOR and not _is_answering(home):
                raise no_answer(home) from None
        if keeper_pid_of(home) is None:
            return
        time.sleep(_RETRY_EVERY)


def _is_answering(home: str) -> bool:
    try:
        client_of(home).health()
    except NoDaemon:
        return False
    return True
