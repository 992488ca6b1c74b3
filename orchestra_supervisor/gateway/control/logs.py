"""Lines of services' logs, asked of the daemon and made fit to be shown."""

from collections.abc import Iterable, Mapping
from functools import partial

from orchestra_supervisor.control_client import ControlClient, rows
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import flag, number, text, whole
from orchestra_supervisor.gateway.control.untrusted import LogLine
from orchestra_supervisor.gateway.endpoint import Caller
from orchestra_supervisor.gateway.messages import Json
from orchestra_supervisor.unix_http import quote

__all__ = ["Found", "Window", "lines_of", "read_logs", "spell"]


class Window:
    """Which lines are wanted.

    Args:
        lines: At most.
        grep: Regular expression, or empty.
        since: Seconds ago, or None.
        until: Seconds ago, or None: up to now.
    """

    __slots__ = ("grep", "lines", "since", "until")

    def __init__(
        self, lines: int, grep: str = "", since: float | None = None, until: float | None = None
    ) -> None:
        self.lines = lines
        self.grep = grep
        self.since = since
        self.until = until


class Found:
    """What was found: the lines in order, how many more there were, whether the search came to its end."""

    __slots__ = ("complete", "lines", "more")

    def __init__(self, lines: list[LogLine], more: int, *, complete: bool) -> None:
        self.lines = lines
        self.more = more
        self.complete = complete


async def read_logs(desk: Desk, caller: Caller | None, names: Iterable[str], window: Window) -> Found:
    """Return the newest lines of several services, in order.

    Raises:
        ToolTrouble: The daemon refuses: no such service, no such pattern.
    """
    lines: list[LogLine] = []
    more, complete = 0, True
    for name in names:
        answer = await desk.ask(caller, partial(_read, name=name, window=window), is_long=True)
        found = lines_of(name, rows(answer, "lines"))
        lines += found
        more += max(0, (whole(answer, "count") or len(found)) - len(found))
        complete = complete and ("complete" not in answer or flag(answer, "complete"))
    lines.sort(key=lambda line: line.at)
    over = max(0, len(lines) - window.lines)
    return Found(lines[over:], more + over, complete=complete)


def _read(client: ControlClient, name: str, window: Window) -> Json:
    if window.until is None and not window.grep:
        return client.logs(name, lines=window.lines, since=window.since)
    query = {"lines": window.lines, "grep": window.grep or None, "since": window.since, "until": window.until}
    return client.request("GET", f"/v1/logs/{quote(name)}/search", query=query, timeout=40.0)


def lines_of(name: str, found: Iterable[Mapping[str, object]]) -> list[LogLine]:
    """Return lines as the daemon told them, fit to be shown."""
    return [
        LogLine.of(name, number(one, "at") or 0.0, text(one, "stream"), text(one, "text"), text(one, "run"))
        for one in found
    ]


def spell(lines: Iterable[LogLine], *, is_named: bool) -> list[str]:
    """Return lines as text; those that stand for several say so.

    Args:
        lines: Collapsed or not.
        is_named: Each bears the name of its service.
    """
    spelled: list[str] = []
    for line in lines:
        name = f"{line.service}: " if is_named else ""
        count = f"  [x{line.count}]" if line.count > 1 else ""
        spelled.append(f"{name}{line.text}{count}")
    return spelled
