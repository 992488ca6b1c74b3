"""`orchestra help`: all commands, or one."""

import os
import sys
from importlib import import_module

from orchestra_supervisor.cli.catalog import COMMANDS, GROUPS, help_text
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import UsageError, nearest

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument("command", nargs="?", metavar="COMMAND", help="the command to tell about")


def run(options: Options) -> int:
    """Print the help."""
    if options.command is None:
        terminal = Terminal(sys.stdout, os.environ)
        text = help_text()
        for title, _ in GROUPS:
            text = text.replace(f"\n{title}:", f"\n{terminal.paint(title, 'bold')}:")
        sys.stdout.write(text + "\n")
        return 0
    if options.command not in COMMANDS:
        close = nearest(options.command, COMMANDS)
        hint = f"did you mean `orchestra help {close}`?" if close else "`orchestra help` lists the commands"
        raise UsageError(f"unknown command {options.command!r}", hint)
    module = import_module(f"orchestra_supervisor.cli.commands.{COMMANDS[options.command].module}")
    parser = CommandParser(options.command)
    module.configure(parser)
    sys.stdout.write(parser.help_text())
    return 0
