"""`orchestra status`: every service, where it stands and why."""

import json
import os
import sys
import time

from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.render import status_lines
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import split_names

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=False)
    parser.json_option()


def run(options: Options) -> int:
    """Print the table; 0 whenever the daemon answered, whatever the services do."""
    names = split_names(options.names)
    answer = ask(home_of(options.home), lambda client: client.status(names))
    if options.is_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return 0
    terminal = Terminal(sys.stdout, os.environ)
    sys.stdout.write("\n".join(status_lines(StatusView(answer), terminal, time.time())) + "\n")
    return 0
