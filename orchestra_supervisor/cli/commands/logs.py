"""`orchestra logs`: what services wrote, from the files, whether or not a daemon runs."""

import os
import re
import select
import sys
import time
from pathlib import Path

from orchestra_supervisor.cli.connection import home_of, no_answer
from orchestra_supervisor.cli.follow import FleetLogs, Layout, NamedLine, merge_by_time, poll_interval
from orchestra_supervisor.cli.logsearch import is_search, print_search
from orchestra_supervisor.cli.logview import LogPainter, log_json
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import UnfitWord, UsageError, seconds_of, split_names, whole_of
from orchestra_supervisor.logfile.many_lines import Pattern
from orchestra_supervisor.logfile.reader import read_lines

__all__ = ["configure", "run", "since_of"]

_ONE = 100
_EACH = 20


def since_of(text: str) -> float:
    """Return the instant that --since means, wall seconds: a span before now, or an ISO date and time."""
    try:
        return time.time() - seconds_of(text)
    except UnfitWord:
        from datetime import datetime

        try:
            # Without an offset it is local time, as in the timestamps that are shown.
            return datetime.fromisoformat(text).astimezone().timestamp()
        except (ValueError, OverflowError, OSError):
            raise UnfitWord(f"{text!r} is neither a span like 10m nor a time like 2026-01-31T12:00") from None


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=False)
    parser.option("-f", "--follow", action="store_true", help="go on with new lines as they come")
    parser.option(
        "-n",
        "--lines",
        type=whole_of,
        metavar="N",
        help=f"newest N lines of each service (default: {_ONE}, {_EACH} of several, all with --since)",
    )
    parser.option("--since", type=since_of, metavar="T", help="10m, 2h, 30s ago, or 2026-01-31T12:00")
    parser.option("--until", type=since_of, metavar="T", help="only lines before then; as --since")
    parser.option("--grep", metavar="RE", help="only lines in which this regular expression is found")
    for flag, name, what in (
        ("-A", "after", "after"),
        ("-B", "before", "before"),
        ("-C", "around", "around"),
    ):
        text = f"show N lines {what} each match"
        parser.option(flag, f"--{name}", type=whole_of, default=0, metavar="N", help=text)
    parser.option("--count", action="store_true", help="print how many lines match, not the lines")
    parser.option("--timestamps", action="store_true", help="put the local time before each line")
    parser.json_option()


def run(options: Options) -> int:
    """Print the newest lines, then follow where asked to."""
    home = Path(home_of(options.home))
    pattern = _pattern_of(options.grep)
    is_searched = is_search(options)
    layout = Layout.read(home)
    if not layout.services and not layout.directory.is_dir():
        raise no_answer(home)
    names = layout.choose(split_names(options.names))
    limit = options.lines
    if limit is None and options.since is None and options.until is None:
        limit = _ONE if len(names) == 1 else _EACH
    if is_searched:
        options.lines = limit
        painter = LogPainter(names, Terminal(sys.stdout, os.environ), is_timed=options.timestamps)
        print_search(options, layout, names, pattern, painter)
        return 0
    printer = _Printer(names, is_timed=options.timestamps, is_json=options.is_json)
    if not options.follow:
        printer.show(_newest(layout, names, limit, options.since, pattern))
        return 0
    logs = FleetLogs(layout, names, limit=limit, since=options.since, pattern=pattern)
    every = not split_names(options.names)
    while True:
        printer.show(logs.take())
        if _is_reader_gone(poll_interval(len(names))):
            return 0
        if every:
            logs.add(Layout.read(home).services)


def _newest(
    layout: Layout, names: list[str], limit: int | None, since: float | None, pattern: Pattern | None
) -> list[NamedLine]:
    batches: list[list[NamedLine]] = []
    for name in names:
        lines = read_lines(str(layout.path(name)), limit=limit, since_wall=since, pattern=pattern)
        batches.append([(name, line) for line in lines])
    return merge_by_time(batches)


def _pattern_of(text: str | None) -> Pattern | None:
    if text is None:
        return None
    try:
        return re.compile(os.fsencode(text))
    except re.error as error:
        raise UsageError(
            f"--grep {text!r} is not a regular expression: {error}", "put a backslash before ( [ * + ? . \\"
        ) from error


def _is_reader_gone(timeout: float) -> bool:
    """Sleep, and say whether the program that reads our output has ended meanwhile."""
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)
    return bool(watch.poll(timeout * 1_000))


class _Printer:
    def __init__(self, names: list[str], *, is_timed: bool, is_json: bool) -> None:
        self._painter = LogPainter(names, Terminal(sys.stdout, os.environ), is_timed=is_timed)
        self._is_json = is_json

    def show(self, lines: list[NamedLine]) -> None:
        render = log_json if self._is_json else self._painter.line
        if lines:
            sys.stdout.writelines(f"{render(name, line)}\n" for name, line in lines)
            sys.stdout.flush()
