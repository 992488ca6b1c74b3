"""`orchestra logs` where all of a log is gone through: between two times, with lines around, or counted."""

import heapq
import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

from orchestra_supervisor.cli.follow import Layout
from orchestra_supervisor.cli.logview import LogPainter, log_json
from orchestra_supervisor.cli.parser import Options
from orchestra_supervisor.cli.words import UsageError
from orchestra_supervisor.logfile.many_lines import Pattern
from orchestra_supervisor.logfile.scan import Span
from orchestra_supervisor.logfile.search import Hit, Query, newest, search

__all__ = ["is_search", "print_search"]

_MOST_AROUND = 10_000  # lines: they are held in memory
_FLUSH_EVERY = 1_000  # lines


class _Found(NamedTuple):
    """A hit and its place among those of all services: by time, in the order of the log within a service."""

    at: float
    rank: int
    name: str
    hit: Hit


def is_search(options: Options) -> bool:
    """Return whether the options ask for more than the newest lines.

    Raises:
        UsageError: They contradict each other.
    """
    around = max(options.around, options.before, options.after)
    asked = [
        name
        for name, given in (
            ("--until", options.until is not None),
            ("--count", options.count),
            ("-A, -B and -C", around > 0),
        )
        if given
    ]
    if asked and options.follow:
        raise UsageError(f"{asked[0]} and --follow contradict each other", "leave one of them out")
    if around and options.grep is None:
        raise UsageError("-A, -B and -C show lines around matches", "say what to look for by --grep RE")
    if around > _MOST_AROUND:
        hint = "look at a time by --since and --until"
        raise UsageError(f"-A, -B and -C take at most {_MOST_AROUND} lines", hint)
    return bool(asked) or (not options.follow and options.lines is None and options.since is not None)


def print_search(
    options: Options, layout: Layout, names: list[str], pattern: Pattern | None, painter: LogPainter
) -> None:
    """Print what is found, as it is found."""
    before, after = (max(given, options.around) for given in (options.before, options.after))
    query = Query(Span.of(options.since, options.until), pattern, before, after)
    if options.count:
        _print_counts(layout, names, query, is_json=options.is_json)
        return
    is_grouped = bool(before or after)
    streams = [_found(layout, name, rank, query, options.lines) for rank, name in enumerate(names)]
    is_begun = False
    for number, found in enumerate(heapq.merge(*streams)):
        hit = found.hit
        if options.is_json:
            sys.stdout.write(
                f"{log_json(found.name, hit.line, match=hit.is_match if is_grouped else None)}\n"
            )
        else:
            if is_grouped and hit.is_first and is_begun:
                sys.stdout.write("--\n")
            sys.stdout.write(f"{painter.line(found.name, hit.line)}\n")
        is_begun = True
        if number % _FLUSH_EVERY == 0:
            sys.stdout.flush()
    sys.stdout.flush()


def _found(layout: Layout, name: str, rank: int, query: Query, limit: int | None) -> Iterator[_Found]:
    latest = 0.0
    for hit in newest(search(str(layout.path(name)), query), limit):
        latest = max(latest, hit.line.at_wall)  # a clock that steps back does not reorder a log
        yield _Found(latest, rank, name, hit)


def _print_counts(layout: Layout, names: list[str], query: Query, *, is_json: bool) -> None:
    for name in names:
        count = sum(hit.is_match for hit in search(str(layout.path(name)), query))
        if is_json:
            print(json.dumps({"service": name, "count": count}))  # the answer
        else:
            print(count if len(names) == 1 else f"{name}: {count}")
