"""`orchestra signal`: send a signal to services."""

import signal

from orchestra_supervisor.cli.commands.verbs import print_results
from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.words import UsageError, nearest, split_names

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=True, what="services, globs, or `all`; the signal (HUP, SIGUSR1, 10) comes last")
    parser.option(
        "--scope",
        choices=("leader", "group", "tree"),
        default="leader",
        help="the first process, its process group, or every process (default: leader)",
    )
    parser.json_option()


def run(options: Options) -> int:
    """Send it."""
    names = split_names(options.names[:-1])
    if not names:
        raise UsageError("orchestra signal: NAMES or SIG is missing", "orchestra signal web HUP")
    number = _signal_name(options.names[-1])
    answer = ask(
        home_of(options.home),
        lambda client: client.signal(names, number, scope=options.scope),
        is_read=False,
    )
    return print_results(answer, "signal", is_json=options.is_json)


def _signal_name(text: str) -> str:
    known = {member.name: member for member in signal.Signals}
    if text.isascii() and text.isdigit():
        by_number = [name for name, member in known.items() if member == int(text)]
        if by_number:
            return by_number[0]
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in known:
        return name
    close = nearest(name, known)
    hint = f"did you mean {close}?" if close else "a name like HUP or SIGUSR1, or a number"
    raise UsageError(f"orchestra signal: unknown signal {text!r}", hint)
