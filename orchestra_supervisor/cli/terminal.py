"""The terminal: whether there is one, its size and colours, and a region that is redrawn in place."""

import os
from collections.abc import Mapping

from orchestra_supervisor.cli.text import display_width

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` costs 4 ms to import, an eighth of `orchestra status`
    from typing import TextIO

__all__ = ["LiveRegion", "Terminal"]

_SGR = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "bright_green": "92",
    "bright_yellow": "93",
    "bright_blue": "94",
    "bright_magenta": "95",
    "bright_cyan": "96",
}
_DEFAULT_ROWS = 24


class Terminal:
    """One output stream and what it can show.

    Args:
        stream: Where text goes.
        env: Environment; `NO_COLOR`, `FORCE_COLOR`, `TERM` and `COLUMNS` are honoured.
    """

    def __init__(self, stream: "TextIO", env: Mapping[str, str]) -> None:
        self.stream = stream
        self._env = env
        is_dumb = env.get("TERM", "") == "dumb"
        self.is_tty = stream.isatty()
        self.is_live = self.is_tty and not is_dumb
        """True when lines may be redrawn in place."""
        self.is_unicode = (stream.encoding or "ascii").lower().replace("-", "") in {"utf8", "utf16"}
        forced = env.get("FORCE_COLOR", "") not in {"", "0"}
        self.is_color = not env.get("NO_COLOR") and (forced or self.is_live)

    @property
    def columns(self) -> int | None:
        """Width in columns, asked anew each time; None where lines may be of any length."""
        if self.is_tty:
            try:
                return os.get_terminal_size(self.stream.fileno()).columns or 80
            except OSError:
                return 80
        wanted = self._env.get("COLUMNS", "")
        return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else None

    @property
    def rows(self) -> int:
        """Height in rows."""
        try:
            return os.get_terminal_size(self.stream.fileno()).lines or _DEFAULT_ROWS
        except (OSError, ValueError):
            return _DEFAULT_ROWS

    @property
    def mark(self) -> str:
        """The sign of a cut."""
        return "…" if self.is_unicode else "~"

    def paint(self, text: str, *styles: str) -> str:
        """Wrap a text in colours where there are any; its blanks are never underlined or filled."""
        if not self.is_color or not text or not styles:
            return text
        codes = ";".join(_SGR[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def write(self, text: str) -> None:
        """Write and flush, so that what is said stands before whatever follows."""
        self.stream.write(text)
        self.stream.flush()

    def line(self, text: str = "") -> None:
        """Write one line."""
        self.write(text + "\n")


class LiveRegion:
    """Some lines at the end of the output that are redrawn in place.

    The cursor rests on the line below the region between frames, so that anything another
    program or the terminal's echo puts there is wiped by the next frame.

    Args:
        terminal: A terminal whose `is_live` holds.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._widths: list[int] = []

    def draw(self, lines: list[tuple[str, str]]) -> None:
        """Replace the region.

        Args:
            lines: Pairs of plain and painted text; the plain one tells its width. Each must fit the terminal.
        """
        parts = [self._rewind()]
        parts.extend(f"{painted}\x1b[K\n" for _, painted in lines)
        parts.append("\x1b[J")
        self._terminal.write("".join(parts))
        self._widths = [display_width(plain) for plain, _ in lines]

    def clear(self) -> None:
        """Take the region away; the cursor is where it began."""
        self._terminal.write(self._rewind() + "\x1b[J")
        self._widths = []

    def release(self) -> None:
        """Leave the region on the screen as ordinary output."""
        self._widths = []

    def _rewind(self) -> str:
        # A terminal that became narrower has wrapped the old lines: count the rows they take now.
        columns = self._terminal.columns or 80
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        rows = min(rows, self._terminal.rows - 1)
        return f"\r\x1b[{rows}A" if rows else "\r"
