"""Command lines: what a verb takes, and the words of one that need no argparse; near misses named."""

from collections.abc import Iterable
from types import SimpleNamespace

from orchestra_supervisor.cli.catalog import COMMANDS

__all__ = [
    "CommandParser",
    "Declared",
    "Options",
    "UnfitWord",
    "UsageError",
    "count_of",
    "nearest",
    "seconds_of",
    "split_command",
    "split_names",
    "whole_of",
]

Options = SimpleNamespace
"""What a command line says: an attribute for each option and argument."""

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


class CommandParser:
    """The parser of one verb.

    Args:
        verb: The command.
    """

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.declared: list[Declared] = []
        """Options and arguments, in their order."""
        self.fixed: dict[str, object] = {}
        """Attributes of the options whatever the words are."""
        self.option("--home", metavar="DIR", help="state directory (else $ORCHESTRA_HOME, .orchestra)")

    def option(self, *flags: str, **settings: object) -> None:
        """Add an option (arguments as for argparse's `add_argument`)."""
        self.declared.append(Declared(flags, settings))

    def names(self, *, is_required: bool, what: str = "services, globs, tag:WORD, or `all`") -> None:
        """Add the NAMES argument."""
        self.argument("names", nargs="+" if is_required else "*", metavar="NAMES", help=what)

    def argument(self, name: str, *, is_told: bool = True, **settings: object) -> None:
        """Add an argument (as for `add_argument`); its metavar says what it is: NAMES, FILES, COMMAND."""
        self.declared.append(Declared((name,), settings, is_told=is_told))

    def json_option(self) -> None:
        """Add --json."""
        self.option("--json", action="store_true", dest="is_json", help="machine-readable output on stdout")

    @property
    def option_names(self) -> list[str]:
        """The long options."""
        flags = [flag for one in self.declared if one.is_option for flag in one.flags]
        return ["--help", *(flag for flag in flags if flag.startswith("--"))]

    def parse(self, words: list[str]) -> Options:
        """Parse the words after the verb; options and names may be mixed.

        Raises:
            UsageError: They are not understood.
        """
        values = self._plainly(words)
        if values is None:
            from orchestra_supervisor.cli.fullparser import FullParser

            values = FullParser(self).values_of(words)
        return Options(**self.fixed | values)

    def help_text(self) -> str:
        """Return what `--help` prints."""
        from orchestra_supervisor.cli.fullparser import FullParser

        return FullParser(self).format_help()

    def _plainly(self, words: list[str]) -> dict[str, object] | None:
        """Return the values of words that leave nothing open; None where argparse has to say what they mean.

        argparse takes 4 ms to load and to be told of a few options: a tenth of what `orchestra status` took.
        """
        options = {flag: one for one in self.declared if one.is_option for flag in one.flags}
        values = {one.dest: one.default for one in self.declared}
        names: list[str] = []
        rest = iter(words)
        for word in rest:
            if not word.startswith("-"):
                names.append(word)
                continue
            flag, equals, value = word.partition("=")
            one = options.get(flag)
            if one is None or (equals and not flag.startswith("--")):
                return None
            if one.kind == "store_true" and not equals:
                values[one.dest] = True
                continue
            if one.kind != "store":
                return None
            if not equals:
                value = next(rest, "-")
            if value == "--" or (value.startswith("-") and not equals):
                return None
            try:
                values[one.dest] = one.value_of(value)
            except ValueError:
                return None
        return self._with_names(values, names)

    def _with_names(self, values: dict[str, object], names: list[str]) -> dict[str, object] | None:
        arguments = [one for one in self.declared if not one.is_option]
        if not arguments:
            return None if names else values
        one, *others = arguments
        many = one.settings.get("nargs")
        if others or {"choices", "type", "default"} & one.settings.keys():
            return None
        if many == "*" or (many == "+" and names):
            values[one.dest] = names
        elif many != "?" or len(names) > 1:
            return None
        elif names:
            values[one.dest] = names[0]
        return values


def split_command(words: list[str]) -> tuple[str, list[str]]:
    """Take the verb out of a command line.

    Returns:
        The verb (`help` where none is given) and the words for its parser, a leading --home among them.
    """
    before: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--home":
            if not rest:
                raise UsageError("--home needs a directory", "orchestra --home DIR status")
            before += [f"--home={rest.pop(0)}"]
        elif word.startswith("--home="):
            before += [word]
        elif word in {"-h", "--help"}:
            return "help", rest
        elif word in {"-V", "--version"}:
            return "version", []
        elif word.startswith("-"):
            close = nearest(word, ["--home", "--help", "--version"])
            hint = f"did you mean {close}?" if close else "options of a command stand after it"
            raise UsageError(f"unknown option {word.partition('=')[0]}", hint)
        elif word in COMMANDS:
            return word, before + rest
        else:
            close = nearest(word, COMMANDS)
            hint = f"did you mean `orchestra {close}`?" if close else "`orchestra help` lists the commands"
            raise UsageError(f"unknown command {word!r}", hint)
    return "help", []


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
