"""`orchestra check`: errors, disagreements and what would go wrong, before anything is started."""

import sys
from pathlib import Path

from orchestra_supervisor.cli.parser import CommandParser, Options

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument("files", nargs="*", metavar="FILES", help="default: the files that `up` would read")
    parser.option(
        "--no-preflight", action="store_true", help="do not look at this host: ports, commands, directories"
    )
    parser.option(
        "--for-up",
        action="store_true",
        help="as `up` does: tell errors alone, fail only where the files are wrong",
    )
    parser.json_option()


def run(options: Options) -> int:
    """Check; 0 where nothing is wrong, 3 where something is."""
    from orchestra_supervisor.cli.launch import find_config_files

    # The one command that loads pydantic, and the configuration's own code, into this process.
    from orchestra_supervisor.config.command import run_check, run_check_for_up

    files = [str(file) for file in find_config_files(options.files, Path.cwd())]
    if options.for_up:
        return run_check_for_up(files, stream=sys.stdout)
    return run_check(files, as_json=options.is_json, preflight=not options.no_preflight, stream=sys.stdout)
