"""Lines of a log that match, with the lines around them, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestra_supervisor.logfile.lines import LogLine
from orchestra_supervisor.logfile.many_lines import Pattern
from orchestra_supervisor.logfile.scan import ALWAYS, Span, scan_lines

__all__ = ["Hit", "Query", "newest", "search"]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        span: Only lines that began in it, those around a match included.
        pattern: A match is a line in which it is found; None: every line.
        before: Lines before each match that are shown with it.
        after: Lines after each match that are shown with it.
    """

    span: Span = ALWAYS
    pattern: Pattern | None = None
    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that is shown.

    Attributes:
        line: The line.
        number: Of the match that it is, or is shown for, from 1 on.
        is_match: It is the match itself.
        is_first: The line before it in the log is not shown.
    """

    line: LogLine
    number: int
    is_match: bool
    is_first: bool


def search(path: str, query: Query, *, go_on: Callable[[], bool] = lambda: True) -> Iterator[Hit]:
    """Yield the matches in a log and the lines around them, the oldest first.

    Args:
        path: The log file; its rotated segments are found beside it.
        query: What is looked for.
        go_on: Asked often; False: stop here.

    Raises:
        OSError: A file of the log exists and cannot be read.
    """
    is_alone = not query.before and not query.after
    lines = scan_lines(path, query.span, needle=query.pattern if is_alone else None, go_on=go_on)
    earlier: deque[LogLine] = deque(maxlen=query.before)
    number = wanted = 0
    is_first = True
    for line in lines:
        if query.pattern is None or query.pattern.search(line.data):
            number += 1
            for each in earlier:
                yield Hit(each, number, is_match=False, is_first=is_first)
                is_first = False
            earlier.clear()
            yield Hit(line, number, is_match=True, is_first=is_first)
            is_first, wanted = False, query.after
        elif wanted:
            yield Hit(line, number, is_match=False, is_first=False)
            wanted -= 1
        else:
            is_first = is_first or len(earlier) == query.before  # a line falls out unseen
            earlier.append(line)


def newest(hits: Iterator[Hit], limit: int | None) -> Iterator[Hit]:
    """Yield the hits of the newest matches alone.

    Args:
        hits: All of them, the oldest first.
        limit: So many matches; None: all, as they come.
    """
    if limit is None:
        yield from hits
        return
    kept: deque[Hit] = deque()
    for hit in hits:
        kept.append(hit)
        while kept and kept[0].number <= hit.number - limit:
            kept.popleft()
    yield from kept
