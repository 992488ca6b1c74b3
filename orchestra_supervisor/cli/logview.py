"""Log lines for people: aligned prefixes, a colour a service, stderr told apart, nothing obeyed."""

import json

from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip_middle, format_instant, make_visible, pad
from orchestra_supervisor.logfile.lines import LogLine

__all__ = ["LogPainter", "log_json"]

_COLORS = (
    "cyan",
    "green",
    "magenta",
    "blue",
    "bright_cyan",
    "bright_green",
    "bright_magenta",
    "bright_blue",
    "bright_yellow",
)
_WIDEST = 24  # columns of a prefix; longer names are cut in their middle


class LogPainter:
    """Lines of several services.

    Args:
        names: All services whose lines may come; a single one needs no prefix.
        terminal: Where they are shown.
        is_timed: Put the time before each line.
        is_prefixed: Put the name before each line; None: where there are several.
    """

    def __init__(
        self, names: list[str], terminal: Terminal, *, is_timed: bool = False, is_prefixed: bool | None = None
    ) -> None:
        self._terminal = terminal
        self._is_timed = is_timed
        self._is_prefixed = len(names) > 1 if is_prefixed is None else is_prefixed
        columns = terminal.columns
        limit = _WIDEST if columns is None else max(4, min(_WIDEST, columns // 4))
        self._width = min(limit, max((len(name) for name in names), default=0))
        self._colors = {name: _COLORS[index % len(_COLORS)] for index, name in enumerate(sorted(names))}

    def line(self, name: str, line: LogLine) -> str:
        """Return one line, without its end."""
        text = make_visible(line.data.removesuffix(b"\r").decode("utf-8", "surrogateescape"))
        is_error = line.stream == "stderr"
        parts: list[str] = []
        if self._is_timed:
            at = format_instant(line.at_wall) if line.at_wall else pad("", 23)
            parts.append(self._terminal.paint(at, "dim") + " ")
        if self._is_prefixed:
            parts.append(self.prefix(name, is_error=is_error))
        elif is_error and self._terminal.is_color:
            text = self._terminal.paint(text, "red")
        return "".join(parts) + text

    def prefix(self, name: str, *, is_error: bool = False) -> str:
        """Return the name and the bar before its lines; `!` stands for stderr."""
        shown = pad(clip_middle(make_visible(name), self._width, self._terminal.mark), self._width)
        color = self._colors.get(name, "bold")
        bar = "│" if self._terminal.is_unicode else "|"
        sign = self._terminal.paint("!", "red", "bold") if is_error else self._terminal.paint(bar, color)
        return f"{self._terminal.paint(shown, color)} {sign} "


def log_json(name: str, line: LogLine, *, match: bool | None = None) -> str:
    """Return one line as a JSON object; bytes that are not UTF-8 are replaced by U+FFFD.

    Args:
        name: The service.
        line: The line.
        match: Whether it is what was looked for, or stands beside it; None: that is no question.
    """
    members: dict[str, object] = {
        "service": name,
        "at": line.at_wall or None,
        "stream": line.stream,
        "run": line.run,
        "text": line.data.decode("utf-8", "replace"),
        "complete": line.complete,
    }
    if match is not None:
        members["match"] = match
    return json.dumps(members, ensure_ascii=False)
