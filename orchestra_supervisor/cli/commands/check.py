"""`orchestra check`: errors, disagreements and what would go wrong, before anything is started."""

import sys
from pathlib import Path

from orchestra_supervisor.cli.parser import CommandParser, Options

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument("files", nargs="*", metavar="FILES", help="default: the files that `up` would read")
    parser.option(
        "-c", "--config", action="append", default=[], metavar="FILE", help="the same, as `up` has it"
    )
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
    # The one command that loads pydantic, and the configuration's own code, into this process.
    from orchestra_supervisor.config.command import run_check, run_check_for_up

    files = _files_of(options)
    if options.for_up:
        return run_check_for_up(files, stream=sys.stdout)
    return run_check(files, as_json=options.is_json, preflight=not options.no_preflight, stream=sys.stdout)


def _files_of(options: Options) -> list[str]:
    """Return the files, whichever way they are named.

    Raises:
        UsageError: One is not there, or the two ways name others.
    """
    from orchestra_supervisor.cli.launch import find_config_files
    from orchestra_supervisor.cli.words import UsageError

    here = Path.cwd()
    files = find_config_files(options.files or options.config, here)
    if options.files and options.config and find_config_files(options.config, here) != files:
        named = ", ".join(str(file) for file in find_config_files(options.config, here))
        raise UsageError(
            f"FILES are {', '.join(map(str, files))}, and -c names {named}",
            hint="name the files in one way: orchestra check FILES, or orchestra check -c FILE",
        )
    return [str(file) for file in files]
