"""The words of command lines: what is declared, what a value means, what is said of one that does not fit."""

from collections.abc import Iterable

__all__ = [
    "Declared",
    "UnfitWord",
    "UsageError",
    "count_of",
    "nearest",
    "seconds_of",
    "split_names",
    "whole_of",
]

_SPAN = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_LONGEST = 31_536_000.0  # seconds: a year, as in model/spec.py


class UsageError(Exception):
    """The command line is not understood."""

    code = "invalid_request"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UnfitWord(ValueError):
    """A word is not what an option takes; says so."""


class Declared:
    """One option or argument, as it was declared.

    Args:
        flags: `-f`, `--follow`; of an argument its name alone.
        settings: As for argparse's `add_argument`.
        is_told: Completion knows it.
    """

    __slots__ = ("choices", "default", "dest", "flags", "is_told", "kind", "settings")

    def __init__(self, flags: tuple[str, ...], settings: dict[str, object], *, is_told: bool = True) -> None:
        self.flags = flags
        self.settings = settings
        self.is_told = is_told
        self.kind = settings.get("action", "store")
        long = next((flag for flag in flags if flag.startswith("--")), flags[0])
        self.dest = str(settings.get("dest", long.lstrip("-").replace("-", "_")))
        self.default = settings.get("default", False if self.kind == "store_true" else None)
        choices = settings.get("choices")
        self.choices: list[str] = [str(one) for one in choices] if isinstance(choices, list | tuple) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # words, all of them

    @property
    def is_option(self) -> bool:
        """True for an option, False for an argument."""
        return self.flags[0].startswith("-")

    def value_of(self, word: str) -> object:
        """Return what a word means.

        Raises:
            ValueError: Nothing here.
        """
        convert = self.settings.get("type")
        value = convert(word) if callable(convert) else word
        if self.choices and value not in self.choices:
            raise UnfitWord(word)
        return value


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like another one; empty where none is near."""
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def split_names(words: Iterable[str]) -> list[str]:
    """Return the names of words like `web,api` and `mcp_*`, each once, in order."""
    names = [name.strip() for word in words for name in word.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def seconds_of(text: str) -> float:
    """Parse a span: `30`, `30s`, `10m`, `2h`, `1d`, `500ms`; up to a year, in seconds.

    Raises:
        UnfitWord: It is none.
    """
    import re

    match = re.fullmatch(_SPAN, text.strip(), re.ASCII)
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise UnfitWord(f"{text!r} is not a span of time like 30s, 10m or 2h")
    return seconds


def whole_of(text: str) -> int:
    """Parse a number of lines, 0 or more.

    Raises:
        UnfitWord: It is none.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise UnfitWord(f"{text!r} is not a whole number")
    return int(text)


def count_of(text: str) -> int:
    """Parse a number of replicas, 1 or more.

    Raises:
        UnfitWord: It is none.
    """
    number = whole_of(text)
    if number < 1:
        raise UnfitWord("at least 1 has to be restarted at a time")
    return number
