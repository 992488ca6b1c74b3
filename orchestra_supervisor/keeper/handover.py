"""What a run is handed: descriptors, each at its number, and the variables that tell of them.

All but the standard streams is the program's alone: its first commands, run by the same process, get neither
the sockets nor the channel, nor what a stdio server hears and says.
"""

import fcntl
import os
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass

from orchestra_supervisor.keeper.cgroups import Group
from orchestra_supervisor.keeper.request import SpawnRequest
from orchestra_supervisor.keeper.tree import RUN_VARIABLE
from orchestra_supervisor.wire.channel import STDIO_VARIABLE

__all__ = ["Ends", "Handed", "arrange", "environment", "environment_of_first", "hand_over"]

_FIRST = 3  # sd_listen_fds(3)
_PROGRAMS_OWN = (
    b"LISTEN_FDS",
    b"LISTEN_FDNAMES",
    b"NOTIFY_SOCKET",
    b"WATCHDOG_USEC",
    STDIO_VARIABLE.encode("ascii"),
)


@dataclass(frozen=True, slots=True)
class Handed:
    """What a run is handed besides its standard streams.

    Attributes:
        tag: Value of TAG_LIMIT that marks it.
        group: Control group that it is to be in.
        sockets: Listening sockets, in order, with their names.
        notify: Address for NOTIFY_SOCKET, or empty.
        stdio: Pipes that are its stdin and stdout, or its stdin alone; empty: it has none.
        channel: Its end of the socket on which it gets the pipes of stdio servers, or None.
    """

    tag: int
    group: Group | None = None
    sockets: Sequence[tuple[str, int]] = ()
    notify: str = ""
    stdio: Sequence[int] = ()
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """Descriptors that a child goes on with.

    Attributes:
        standard: Standard input, output and error of the first commands, and of the program.
        status: Where it reports a failure.
        sockets: Listening sockets.
        channel: A socket that follows them, or None.
        stdio: What takes the place of standard input, or of input and output, for the program; may be empty.
    """

    standard: Sequence[int]
    status: int
    sockets: Sequence[int]
    channel: int | None
    stdio: Sequence[int]

    @property
    def report(self) -> int:
        """Return the number that the report gets: behind what the program is handed, which starts at 3."""
        return _FIRST + len(self.sockets) + (self.channel is not None)

    @property
    def last(self) -> int:
        """Return the highest number that is used."""
        return self.report + len(self.stdio)


def arrange(ends: Ends) -> int:
    """Give every descriptor its number; only the standard streams are inheritable yet.

    Returns:
        The number of the report.
    """
    channel = () if ends.channel is None else (ends.channel,)
    # A number that is wanted may be taken by one that is needed: those are moved out of the way first.
    others = [
        fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ends.last + 1) if fd <= ends.last else fd
        for fd in (*ends.sockets, *channel, ends.status, *ends.stdio)
    ]
    for target, end in enumerate(ends.standard):
        os.dup2(end, target)
    for target, end in enumerate(others, _FIRST):
        os.dup2(end, target, inheritable=False)
    return ends.report


def hand_over(ends: Ends) -> None:
    """Give the program what its first commands did not get."""
    for target in range(_FIRST, ends.report):
        os.set_inheritable(target, True)  # noqa: FBT003  # by position only
    for target in range(len(ends.stdio)):
        os.dup2(ends.report + 1 + target, target)


def environment(request: SpawnRequest, handed: Handed) -> dict[bytes, bytes]:
    """Return the whole environment but for what only the child knows: its pid."""
    env: dict[bytes, bytes] = {}
    # By the way of ChainMap's own methods it takes three times as long.
    for layer in reversed(request.env.maps) if isinstance(request.env, ChainMap) else (request.env,):
        env.update(layer)
    env[RUN_VARIABLE.encode("ascii")] = request.run.encode("utf-8", "surrogateescape")
    if handed.sockets:
        env[b"LISTEN_FDS"] = str(len(handed.sockets)).encode("ascii")
        env[b"LISTEN_FDNAMES"] = ":".join(name for name, _ in handed.sockets).encode("ascii")
    if handed.channel is not None:
        env[STDIO_VARIABLE.encode("ascii")] = str(_FIRST + len(handed.sockets)).encode("ascii")
    if handed.notify:
        env[b"NOTIFY_SOCKET"] = handed.notify.encode("ascii")
        if request.watchdog:
            env[b"WATCHDOG_USEC"] = str(round(request.watchdog * 1_000_000)).encode("ascii")
    return env


def environment_of_first(env: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the environment of first commands: sockets and words are the program's."""
    return {name: value for name, value in env.items() if name not in _PROGRAMS_OWN}
