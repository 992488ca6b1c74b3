"""`orchestra import`: files of other tools, rewritten into the native form."""

import sys
from pathlib import Path

from orchestra_supervisor.cli.parser import CommandParser, Options

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument(
        "files",
        nargs="+",
        metavar="FILES",
        help="supervisord.conf, Procfile, units of systemd, docker-compose.yml, files of MCP clients",
    )
    parser.option("-o", "--output", metavar="OUT", help="write it there; default: to stdout")


def run(options: Options) -> int:
    """Import; 0, or 3 where a file is wrong."""
    from orchestra_supervisor.model.errors import ConflictError

    if options.output is not None and Path(options.output).exists():
        raise ConflictError(f"{options.output} exists already", hint="name another with -o, or remove it")
    # It reads configurations as `check` does, and is as large.
    from orchestra_supervisor.config.importers.run import run_import

    return run_import(options.files, output=options.output, stream=sys.stdout, report=sys.stderr)
