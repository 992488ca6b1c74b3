"""argparse, for what `CommandParser` leaves to it: help, what may be written in several ways, and errors."""

import argparse
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, NoReturn

from orchestra_supervisor.cli.catalog import COMMANDS
from orchestra_supervisor.cli.words import Declared, UnfitWord, UsageError, nearest

__all__ = ["FullParser"]

_HELP_WIDTH = 100


def _formatter(prog: str) -> argparse.HelpFormatter:
    # With a width of its own argparse does not import shutil, 3 ms, for every option it is given.
    return argparse.RawDescriptionHelpFormatter(prog, width=_HELP_WIDTH)


class FullParser(argparse.ArgumentParser):
    """The parser of one verb; its errors are ours, with suggestions.

    Args:
        verb: The command.
        declared: What it takes.
    """

    def __init__(self, verb: str, declared: Iterable[Declared]) -> None:
        super().__init__(
            prog=f"orchestra {verb}",
            description=COMMANDS[verb].summary.capitalize() + ".",
            formatter_class=_formatter,
            allow_abbrev=False,
        )
        self._verb = verb
        self._flags = ["--help"]
        for one in declared:
            self._flags.extend(flag for flag in one.flags if flag.startswith("--"))
            settings: dict[str, Any] = dict(one.settings)
            if "type" in settings:
                settings["type"] = _told(settings["type"])
            self.add_argument(*one.flags, **settings)

    def values_of(self, words: list[str]) -> dict[str, object]:
        """Return the values of the words after the verb; options and names may be mixed.

        Raises:
            UsageError: They are not understood.
        """
        options, extra = self.parse_known_intermixed_args(words)
        unknown = [word for word in extra if word.startswith("-")]
        if unknown:
            name = unknown[0].partition("=")[0]
            close = nearest(name, self._flags)
            hint = f"did you mean {close}?" if close else f"`{self.prog} --help` lists the options"
            raise UsageError(f"unknown option {name}", hint)
        if extra:
            raise UsageError(f"unexpected argument {extra[0]!r}", f"`{self.prog} --help`")
        return vars(options)

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
            hint = f"usage: {self.prog} {COMMANDS[self._verb].usage}"
            if missing == "NAMES":
                hint += ", where NAMES may be `all`"
            raise UsageError(f"{self.prog}: {missing} is missing", hint)
        raise UsageError(f"{self.prog}: {message}", f"`{self.prog} --help` shows what it takes")


def _told(convert: Callable[[str], object]) -> Callable[[str], object]:
    """Have argparse tell what is said of a word that does not fit."""

    @wraps(convert)
    def converted(word: str) -> object:
        try:
            return convert(word)
        except UnfitWord as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return converted
