"""The entry of `orchestra`: finds the verb, imports its module alone, tells errors one way."""

import os
import sys
from importlib import import_module

from orchestra_supervisor.cli.catalog import COMMANDS

__all__ = ["main"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it: 128 + SIGINT."""


def main(words: list[str] | None = None) -> int:
    """Run one command.

    Args:
        words: The command line without the program's name; None: that of this process.

    Returns:
        The exit status, as in docs/errors.md.
    """
    for stream in (sys.stdout, sys.stderr):
        # Services write what they like: no text may end a command because a locale cannot spell it.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # typeshed: TextIO
    try:
        status = _run(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`): that is no error, and nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the program: every fault becomes a line and a status
        from orchestra_supervisor.cli.errors import tell_error

        return tell_error(error)
    return status


def _run(words: list[str]) -> int:
    if words[:1] == ["mcp"] and not os.isatty(0):
        # A client waits, and there is one of these for each of its sessions: argparse has no part in it.
        from orchestra_supervisor.cli.shim.shim import understood

        shim = understood(words[1:])
        if shim is not None:
            return shim.run()
    from orchestra_supervisor.cli.parser import CommandParser, split_command

    verb, rest = split_command(words)
    module = import_module(f"orchestra_supervisor.cli.commands.{COMMANDS[verb].module}")
    parser = CommandParser(verb)
    module.configure(parser)
    return module.run(parser.parse(rest))
