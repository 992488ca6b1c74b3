"""Which fleet a command means, and where its control socket is; costs next to nothing to import.

Paths are texts here: pathlib takes 4 ms to import, more than all that `orchestra status` does with them.
"""

import os
import stat
from collections.abc import Iterator, Mapping

__all__ = ["find_home", "socket_path"]


def find_home(
    start: str | os.PathLike[str],
    environ: Mapping[str, str],
    explicit: str | os.PathLike[str] | None = None,
) -> str:
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
    start = os.fspath(start) if os.path.isabs(start) else os.path.join(os.getcwd(), start)
    if named:
        return os.path.normpath(os.path.join(start, named))
    for directory in _upwards(start):
        home = os.path.join(directory, ".orchestra")
        if _is_home(home, directory):
            return home
    return os.path.join(start, ".orchestra")


def socket_path(home: str | os.PathLike[str], stem: str = "control") -> str:
    """Return a socket of a home: what its `control.path` names, else its `control.sock`.

    Args:
        home: The state directory.
        stem: `control`, or `mcp` for the one of the gateway.
    """
    try:
        with open(os.path.join(home, f"{stem}.path"), encoding="utf-8") as file:
            named = file.read().strip()
    except (OSError, UnicodeDecodeError):
        named = ""
    return os.path.join(home, named or f"{stem}.sock")


def _upwards(directory: str) -> Iterator[str]:
    yield directory
    while (parent := os.path.dirname(directory)) != directory:
        directory = parent
        yield directory


def _is_home(home: str, parent: str) -> bool:
    try:
        facts = os.stat(home)
        ours = facts.st_uid in {0, os.getuid()} or not os.stat(parent).st_mode & stat.S_IWOTH
    except OSError:
        return False
    return ours and stat.S_ISDIR(facts.st_mode)
