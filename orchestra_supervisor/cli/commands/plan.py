"""`orchestra plan`: what a reload would do to the running fleet, and why, without doing it."""

import json
import os
import sys
from pathlib import Path

from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.planview import plan_lines
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.control_client import ControlClient, Json, NoDaemon

__all__ = ["CHANGES", "configure", "run", "show_plan"]

CHANGES = 10
"""Exit status that says: a reload would change something. None of the statuses of errors."""


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument(
        "files", is_told=False, nargs="*", metavar="FILES", help="default: the files that the fleet runs on"
    )
    parser.json_option()


def run(options: Options) -> int:
    """Show the plan; 0 where there is nothing to do, 10 where there is, 3 where the files are wrong."""
    return show_plan(options, [str(Path(file).absolute()) for file in options.files])


def show_plan(options: Options, files: list[str]) -> int:
    """Ask for a plan by these files, or by those of the fleet, and print it."""

    def look(client: ControlClient) -> Json:
        return client.plan(files)

    home = home_of(options.home)
    try:
        answer = ask(home, look)
    except NoDaemon as error:
        if keeper_pid_of(home) is not None:  # the daemon is on its way back
            raise
        hint = "a plan compares files with a running fleet: `orchestra check` looks at the files alone"
        raise NoDaemon(error.message, hint) from error
    if options.is_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        lines = plan_lines(answer, Terminal(sys.stdout, os.environ), is_done=False)
        sys.stdout.write("\n".join(lines) + "\n")
    return CHANGES if answer.get("changes") is True else 0
