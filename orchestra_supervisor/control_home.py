"""Which fleet a command means, and where its control socket is; costs next to nothing to import."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

__all__ = ["find_home", "socket_path"]


def find_home(
    start: Path, environ: Mapping[str, str], explicit: str | os.PathLike[str] | None = None
) -> Path:
    """Return the state directory that a command means; it need not exist.

    In this order: `explicit`, $ORCHESTRA_HOME, the first entry of $STATE_DIRECTORY, the nearest
    `.orchestra` directory of `start` and its parents, `.orchestra` in `start`. A `.orchestra` that somebody
    else put into a directory writable for all (/tmp) is passed over: what it says would be run.

    Args:
        start: The directory that relative paths are taken from.
        environ: The environment.
        explicit: What the user asked for, if anything.
    """
    systemd = environ.get("STATE_DIRECTORY", "").split(":", maxsplit=1)[0]
    named = explicit or environ.get("ORCHESTRA_HOME") or systemd
    start = start.absolute()
    if named:
        return Path(os.path.normpath(start / named))
    for directory in (start, *start.parents):
        if _is_home(directory / ".orchestra", directory):
            return directory / ".orchestra"
    return start / ".orchestra"


def socket_path(home: Path, stem: str = "control") -> Path:
    """Return a socket of a home: what its `control.path` names, else its `control.sock`.

    Args:
        home: The state directory.
        stem: `control`, or `mcp` for the one of the gateway.
    """
    try:
        named = (home / f"{stem}.path").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        named = ""
    return home / (named or f"{stem}.sock")


def _is_home(home: Path, parent: Path) -> bool:
    try:
        facts = home.stat()
        ours = facts.st_uid in {0, os.getuid()} or not parent.stat().st_mode & stat.S_IWOTH
    except OSError:
        return False
    return ours and stat.S_ISDIR(facts.st_mode)
