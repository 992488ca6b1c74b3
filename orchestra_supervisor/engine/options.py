"""What the keeper starts the daemon with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["USAGE", "Options", "parse_options"]

USAGE = "--home DIRECTORY [-c FILE]... [--only NAME,...] [--console auto|off|raw|prefix|json]"
"""For people; `cli/launch.py` is what says it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the keeper starts the daemon with: absolute paths, names, and what `Launcher` takes as console."""

    home: Path
    files: tuple[Path, ...]
    only: tuple[str, ...]
    console: str | None = None


def parse_options(arguments: Sequence[str]) -> Options | None:
    """Return what the keeper says; None when it is something else: only we tell the keeper."""
    home, files, only, console = "", list[Path](), list[str](), None
    words = iter(arguments)
    for word in words:
        match word, next(words, None):
            case "--home", str(value):
                home = value
            case "-c", str(value):
                files.append(Path(value).absolute())
            case "--only", str(value):
                only += filter(None, value.split(","))
            case "--console", ("auto" | "off" | "raw" | "prefix" | "json") as value:
                console = value
            case _:
                return None
    return Options(Path(home).absolute(), tuple(files), tuple(only), console) if home else None
