"""Characters and columns: making text safe to show, measuring it, cutting it to fit.

What services write is shown to people on terminals, and a terminal obeys control
characters. Nothing from outside reaches one before `make_visible` has been over it.
"""

import re

__all__ = [
    "clip",
    "clip_middle",
    "display_width",
    "format_duration",
    "format_instant",
    "format_size",
    "make_visible",
    "pad",
]

_UNSAFE = (
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # C0 without tab, DEL, C1
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # direction marks that reorder what is read; odd line ends
    "\ud800-\udfff]"  # bytes that were not UTF-8, kept by surrogateescape
)
_OURS = frozenset("○◌◔◑●▲↻◒✓✗…")
"""Signs of one column that every table has: for these nobody asks `unicodedata`."""


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return f"^{chr(code + 0x40)}"
    if code == 0x7F:
        return "^?"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def make_visible(text: str) -> str:
    r"""Spell out every character that a terminal would obey instead of show.

    Tabs stay; C0 controls become carets (`^[`), other ones escapes (`\x9b`, `\u202e`).
    """
    # Nothing unsafe is printable, and nearly all is: then the expression is not even compiled.
    return text if text.isprintable() else re.sub(_UNSAFE, _spell, text)


def display_width(text: str) -> int:
    """Return how many terminal columns a text takes (wide characters two, combining ones none)."""
    if text.isascii() or text in _OURS:
        return len(text)
    import unicodedata

    width = 0
    for char in text:
        if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
            continue
        width += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return width


def _take(text: str, width: int) -> str:
    """Return the longest start of a text that fits a width in columns."""
    if text.isascii():
        return text[:width]
    used = 0
    for index, char in enumerate(text):
        used += display_width(char)
        if used > width:
            return text[:index]
    return text


def clip(text: str, width: int, mark: str = "…") -> str:
    """Cut the end of a text so that it fits a width in columns; a cut shows the mark."""
    if width <= 0:
        return ""
    if display_width(text) <= width:
        return text
    return _take(text, width - len(mark)) + mark if width > len(mark) else mark[:width]


def clip_middle(text: str, width: int, mark: str = "…") -> str:
    """Cut the middle of an ASCII name, since names in a row often differ at their ends."""
    if len(text) <= width:
        return text
    if width < 4:
        return clip(text, width, mark)
    room = width - len(mark)
    tail = room // 2
    return text[: room - tail] + mark + text[len(text) - tail :]


def pad(text: str, width: int, *, is_right: bool = False) -> str:
    """Fill a text with blanks to a width in columns."""
    blanks = " " * max(0, width - display_width(text))
    return blanks + text if is_right else text + blanks


def format_duration(seconds: float) -> str:
    """Format a span in five or six characters: `0.4s`, `59s`, `2m03s`, `3h04m`, `12d05h`."""
    if seconds < 0:
        seconds = 0.0
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"


def format_size(count: int) -> str:
    """Format bytes in four or five characters: `512B`, `8.2K`, `340M`, `1.5G` (powers of 1024)."""
    value = float(max(0, count))
    for unit in "BKMGT":
        if value < 999.5 or unit == "T":
            return f"{value:.0f}{unit}" if unit == "B" or value >= 9.95 else f"{value:.1f}{unit}"
        value /= 1_024
    raise AssertionError


def format_instant(wall: float, *, is_dated: bool = True) -> str:
    """Format an instant (seconds since the epoch) in local time with milliseconds."""
    import time

    millis = round(wall * 1_000)
    local = time.localtime(millis // 1_000)
    day = f"{local.tm_year:04d}-{local.tm_mon:02d}-{local.tm_mday:02d} " if is_dated else ""
    return f"{day}{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}.{millis % 1_000:03d}"
