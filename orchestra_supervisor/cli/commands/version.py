"""`orchestra version`: of this program, not of a daemon that may run an older one (`status` tells that)."""

import json
import platform
import sys

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.cli.parser import CommandParser, Options

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.json_option()


def run(options: Options) -> int:
    """Print the version."""
    if options.is_json:
        facts = {"version": VERSION, "python": platform.python_version(), "executable": sys.executable}
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write(f"orchestra {VERSION}\n")
    return 0
