"""`orchestra completion`: a script for a shell, and the names that it asks for."""

import json
import sys
from pathlib import Path

from orchestra_supervisor.cli.connection import home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.control_home import socket_path

__all__ = ["configure", "run"]

_LIMIT = 0.3  # seconds; somebody has pressed Tab and waits


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument(
        "shell",
        choices=("bash", "zsh", "fish", "names"),
        metavar="SHELL",
        help="bash, zsh or fish; `names`: the services, a line each, as the scripts ask for them",
    )


def run(options: Options) -> int:
    """Print the script, or the names."""
    if options.shell == "names":
        sys.stdout.writelines(f"{name}\n" for name in _names(Path(home_of(options.home))))
        return 0
    from orchestra_supervisor.cli.completions import SCRIPTS
    from orchestra_supervisor.cli.vocabulary import vocabulary

    sys.stdout.write(SCRIPTS[options.shell](vocabulary()))
    return 0


def _names(home: Path) -> list[str]:
    """Return the names of the services: from the file that the daemon keeps, else from the daemon."""
    try:
        layout: dict[str, list[object]] = json.loads((home / "layout.json").read_text(encoding="utf-8"))
        return [str(name) for name in layout["services"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not for our eyes
    try:
        answer = ControlClient(socket_path(home), timeout=_LIMIT).status()
    except (ControlError, OSError, ValueError):
        return []
    return [str(row.get("name", "")) for row in rows(answer, "services")]
