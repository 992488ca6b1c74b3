"""Argument parsing: one small parser for the verb that was asked for, and near misses named."""

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from orchestra_supervisor.cli.catalog import COMMANDS

__all__ = [
    "CommandParser",
    "UsageError",
    "count_of",
    "nearest",
    "seconds_of",
    "split_command",
    "split_names",
    "whole_of",
]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_HELP_WIDTH = 100
_LONGEST = 31_536_000.0  # seconds: a year, as in model/spec.py


class UsageError(Exception):
    """The command line is not understood."""

    code = "invalid_request"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _formatter(prog: str) -> argparse.HelpFormatter:
    # With a width of its own argparse does not import shutil, 3 ms, for every option it is given.
    return argparse.RawDescriptionHelpFormatter(prog, width=_HELP_WIDTH)


class CommandParser(argparse.ArgumentParser):
    """The parser of one verb; its errors are ours, its options are remembered for suggestions.

    Args:
        verb: The command.
        epilog: Examples, shown as they are.
    """

    def __init__(self, verb: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"orchestra {verb}",
            description=COMMANDS[verb].summary.capitalize() + ".",
            epilog=epilog or None,
            formatter_class=_formatter,
            allow_abbrev=False,
        )
        self.verb = verb
        self.option_names: list[str] = ["--help"]
        self.actions: list[argparse.Action] = []
        """Options and arguments as they were added, for completion."""
        self.option("--home", metavar="DIR", help="state directory (else $ORCHESTRA_HOME, .orchestra)")

    def option(self, *flags: str, **settings: Any) -> None:
        """Add an option (arguments as for `add_argument`)."""
        self.actions.append(self.add_argument(*flags, **settings))
        self.option_names.extend(flag for flag in flags if flag.startswith("--"))

    def names(self, *, is_required: bool, what: str = "services, globs, tag:WORD, or `all`") -> None:
        """Add the NAMES argument."""
        self.argument("names", nargs="+" if is_required else "*", metavar="NAMES", help=what)

    def argument(self, name: str, **settings: Any) -> None:
        """Add an argument (as for `add_argument`); its metavar says what it is: NAMES, FILES, COMMAND."""
        self.actions.append(self.add_argument(name, **settings))

    def json_option(self) -> None:
        """Add --json."""
        self.option("--json", action="store_true", dest="is_json", help="machine-readable output on stdout")

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Parse the words after the verb; options and names may be mixed."""
        options, extra = self.parse_known_intermixed_args(words)
        unknown = [word for word in extra if word.startswith("-")]
        if unknown:
            name = unknown[0].partition("=")[0]
            close = nearest(name, self.option_names)
            hint = f"did you mean {close}?" if close else f"`{self.prog} --help` lists the options"
            raise UsageError(f"unknown option {name}", hint)
        if extra:
            raise UsageError(f"unexpected argument {extra[0]!r}", f"`{self.prog} --help`")
        return options

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise where a word is none of those that there are: with the nearest, where one is near."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        close = nearest(str(value), known)
        if action.option_strings:
            flag = action.option_strings[-1]
            what, meant = f"value {str(value)!r} of {flag}", f"{flag} {close}"
        else:
            what, meant = f"{action.metavar or action.dest} {str(value)!r}", f"`{self.prog} {close}`"
        hint = f"did you mean {meant}?" if close else f"`{self.prog} --help` shows what it takes"
        raise UsageError(f"{self.prog}: unknown {what}: one of {', '.join(known)}", hint)

    def error(self, message: str) -> NoReturn:
        """Raise argparse's complaint as ours."""
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            hint = f"usage: {self.prog} {COMMANDS[self.verb].usage}"
            if missing == "NAMES":
                hint += ", where NAMES may be `all`"
            raise UsageError(f"{self.prog}: {missing} is missing", hint)
        raise UsageError(f"{self.prog}: {message}", f"`{self.prog} --help` shows what it takes")


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
    """Parse a span: `30`, `30s`, `10m`, `2h`, `1d`, `500ms`; up to a year, in seconds."""
    match = _SPAN.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of time like 30s, 10m or 2h")
    return seconds


def whole_of(text: str) -> int:
    """Parse a number of lines, 0 or more."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def count_of(text: str) -> int:
    """Parse a number of replicas, 1 or more."""
    number = whole_of(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 has to be restarted at a time")
    return number
