"""Descriptors that the service manager opened for us and handed down by number.

Source: sd_listen_fds(3).
"""

import os
from collections.abc import MutableMapping

from orchestra_supervisor.keeper.loop import say

__all__ = ["UNNAMED", "take_listen_fds"]

UNNAMED = "unknown"
"""The name of descriptors for which the manager has none."""

_FIRST = 3
_MOST = 4096  # descriptors; a larger number is no number of sockets
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def take_listen_fds(environ: MutableMapping[str, str] = os.environ) -> dict[str, list[int]]:
    """Take over the descriptors that are meant for this process.

    They are kept open and inherited by nobody; the variables leave the environment, so that no child
    takes them for its own. One name may stand for several descriptors: they are in the manager's order.

    Returns:
        Descriptors by name; empty when there are none, or when they are meant for another process.
    """
    pid, count, names, _ = (environ.pop(name, "") for name in _VARIABLES)
    if not count or pid != str(os.getpid()):
        return {}
    if not (count.isascii() and count.isdigit()) or int(count) > _MOST:
        say(f"LISTEN_FDS is {count[:20]!r}, not a number of descriptors; none is taken")
        return {}
    named = names.split(":") if names else []
    found: dict[str, list[int]] = {}
    for place in range(int(count)):
        fd = _FIRST + place
        try:
            os.set_inheritable(fd, False)  # noqa: FBT003  # by position only
        except OSError as error:
            say(f"descriptor {fd} of LISTEN_FDS is not there: {error.strerror}")
            continue
        name = named[place] if place < len(named) else ""
        found.setdefault(name or UNNAMED, []).append(fd)
    return found
