"""What may be written on a command line, taken from the parsers themselves: the matter of completion."""

from importlib import import_module

from orchestra_supervisor.cli.catalog import COMMANDS
from orchestra_supervisor.cli.parser import CommandParser

__all__ = ["KINDS", "Option", "Verb", "vocabulary"]

KINDS = {"NAMES": "names", "FILE": "files", "FILES": "files", "DIR": "folders", "COMMAND": "commands"}
"""Metavar to what completes it; of anything else nothing is known."""


class Option:
    """One option.

    Args:
        flags: `-f`, `--follow`.
        text: Its help.
        takes: `names`, `files`, `folders`, `commands`, `words`, `text`; empty: it has no value.
        words: The values it may have, where `takes` is `words`.
    """

    def __init__(self, flags: list[str], text: str, takes: str, words: list[str]) -> None:
        self.flags = flags
        self.text = text
        self.takes = takes
        self.words = words


class Verb:
    """One command.

    Args:
        name: As it is typed.
        text: Its summary.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.options: list[Option] = []
        self.argument = Option([], "", "", [])
        """What stands beside the options; its `takes` is empty where nothing does."""


def vocabulary() -> list[Verb]:
    """Return every command with its options."""
    verbs: list[Verb] = []
    for name, command in COMMANDS.items():
        parser = CommandParser(name)
        import_module(f"orchestra_supervisor.cli.commands.{command.module}").configure(parser)
        verb = Verb(name, command.summary)
        verbs.append(verb)
        for one in parser.declared:
            if not one.is_told:
                continue
            takes = "words" if one.choices else KINDS.get(str(one.settings.get("metavar")), "text")
            text = str(one.settings.get("help", ""))
            if not one.is_option:
                verb.argument = Option([], text, takes, one.choices)
            else:
                takes = "" if one.kind == "store_true" else takes
                verb.options.append(Option(list(one.flags), text, takes, one.choices))
    return verbs
