"""The syntax of unit files: sections with comments, and words that mean what they say.

Source: systemd.syntax(7), "Quoting"; systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers".
"""

import os
from collections.abc import Iterable

from orchestra_supervisor.model.errors import ConfigError

__all__ = ["UnitText", "plain", "quote", "quote_command", "seconds"]

_WIDTH = 110
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", '"': '\\"'}
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%^~")


def quote(text: str, *, is_argument: bool = False) -> str:
    """Return text as one word of a list: specifiers doubled, quoted where it must be.

    Args:
        text: The word; bytes that are not UTF-8 are lone surrogates.
        is_argument: In a command line, where `$` begins a variable as well.
    """
    doubled = text.replace("%", "%%")
    if is_argument:
        doubled = doubled.replace("$", "$$")
    if doubled and _BARE.issuperset(doubled.replace("$$", "")):
        return doubled
    return '"' + "".join(map(_escaped, doubled)) + '"'


def quote_command(argv: Iterable[str]) -> str:
    """Return a command line. The program itself is a path, in which `$` has no meaning."""
    program, *arguments = argv
    return " ".join([quote(program), *(quote(word, is_argument=True) for word in arguments)])


def plain(text: str, what: str) -> str:
    """Return text as the whole value of a setting that knows no quoting.

    Args:
        text: The value.
        what: Where it comes from, for the error.

    Raises:
        ConfigError: It has characters that such a value cannot hold.
    """
    if (
        text != text.strip()
        or text.endswith("\\")
        or any(ord(c) < 32 or 0xDC80 <= ord(c) <= 0xDCFF for c in text)
    ):
        raise ConfigError(
            f"{what} {text!r} cannot be written in a unit file",
            hint="rename it: no control characters, no blanks at its ends, UTF-8",
        )
    return text.replace("%", "%%")


def seconds(value: float) -> str:
    """Return a span of time; never `0`, which means no limit at all to most settings."""
    return f"{value:g}" if value >= 1 and value == int(value) else f"{max(1, round(value * 1000))}ms"


def _escaped(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if ord(character) < 32 or ord(character) == 127 or 0xDC80 <= ord(character) <= 0xDCFF:
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
    return character


class UnitText:
    """A unit file as it grows."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def section(self, name: str) -> None:
        """Begin a section."""
        if self._lines:
            self._lines.append("")
        self._lines.append(f"[{name}]")

    def note(self, text: str) -> None:
        """Add a comment, of as many lines as it takes."""
        line = "#"
        for word in text.split():
            if len(line) + 1 + len(word) > _WIDTH and line != "#":
                self._lines.append(line)
                line = "#"
            line += f" {word}"
        self._lines.append(line.rstrip("\\"))  # a line that ends with a backslash goes on

    def set(self, key: str, value: str, why: str = "") -> None:
        """Add a setting, below a comment that says why."""
        if why:
            self.note(why)
        self._lines.append(f"{key}={value}")

    def render(self) -> str:
        """Return the file."""
        return "\n".join(self._lines) + "\n"
