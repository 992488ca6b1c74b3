"""A program started by posix_spawn(3): no page of the keeper is copied, and no Python runs in the child.

The keeper waits until the program is executed, so this is for programs on local file systems alone: one on
a server that is away would hold up everything (docs/adr/0018-a-child-without-python.md). What a child needs
besides its descriptors, the keeper is for that moment itself: it has one thread.
"""

import os
import resource
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

__all__ = ["DEFAULT_PATH", "Footing", "Place", "find_program", "is_possible", "spawn_directly"]

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a program is looked for when its environment does not say."""


@dataclass(frozen=True, slots=True)
class Footing:
    """What the keeper keeps for itself to start programs from.

    Attributes:
        here: Descriptor of our own directory.
        low: Three descriptors below any limit of open files; of /dev/null while nothing is started.
    """

    here: int
    low: Sequence[int]


@dataclass(frozen=True, slots=True)
class Place:
    """What a program finds besides descriptors and environment.

    Attributes:
        cwd: Its directory; None: ours.
        umask: Its umask; None: ours.
        limits: Resource limits that are not ours, as (resource, (soft, hard)).
    """

    cwd: bytes | None
    umask: int | None
    limits: Sequence[tuple[int, tuple[int, int]]]


def is_possible() -> bool:
    """Return whether this system can start a program in a session of its own this way."""
    return sys.platform == "linux" and hasattr(os, "posix_spawn")


def spawn_directly(
    argv: list[bytes], env: Mapping[bytes, bytes], standard: Sequence[int], place: Place, footing: Footing
) -> int | None:
    """Start a program in a session of its own, with every signal at its default.

    Args:
        argv: Command line; a name without a slash is looked for in the PATH of `env`.
        env: The whole environment.
        standard: Its standard streams, none of them below 3.
        place: What else it finds.
        footing: From where.

    Returns:
        The pid of the executed program, or None: nothing was started. A fork tells why.
    """
    try:
        with _within(place, standard, footing) as ends, _in(place, footing.here):
            program = find_program(argv[0], env)
            if program is None:
                return None
            return os.posix_spawn(
                program,
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(ends)],
                setsid=True,
                setsigmask=(),
                setsigdef=_touched_signals(),
            )
    except (OSError, ValueError, OverflowError, NotImplementedError):  # the last: a C library without setsid
        return None


def find_program(name: bytes, env: Mapping[bytes, bytes]) -> bytes | None:
    """Return the path at which a program seems to be, or None."""
    if b"/" in name:
        return name
    places = (os.path.join(place, name) for place in env.get(b"PATH", DEFAULT_PATH).split(b":"))
    return next((path for path in places if os.access(path, os.X_OK)), None)


@contextmanager
def _within(place: Place, standard: Sequence[int], footing: Footing) -> Generator[Sequence[int]]:
    """Have the standard streams at numbers within the program's limit of open files: others are refused."""
    soft = next((soft for name, (soft, _) in place.limits if name == resource.RLIMIT_NOFILE), -1)
    if soft == resource.RLIM_INFINITY or max(standard) < soft:
        yield standard
        return
    idle = os.dup(footing.low[0])
    try:
        for fd, low in zip(standard, footing.low, strict=True):
            os.dup2(fd, low, inheritable=False)
        yield footing.low
    finally:
        for low in footing.low:  # whoever reads a pipe of the program sees its end only without us
            os.dup2(idle, low, inheritable=False)
        os.close(idle)


@contextmanager
def _in(place: Place, here: int) -> Generator[None]:
    """Be for a moment as the child is to be.

    Raises:
        OSError: A directory or a limit cannot be had. All is as it was.
    """
    limits: list[tuple[int, tuple[int, int]]] = []
    umask = None if place.umask is None else os.umask(place.umask)
    try:
        for name, pair in place.limits:
            limits.append((name, resource.prlimit(0, name, pair)))  # one may be refused
        if place.cwd is not None:
            os.chdir(place.cwd)
        yield
    finally:
        if place.cwd is not None:
            with suppress(OSError):  # a directory that we may no longer enter: nothing of ours is relative
                os.fchdir(here)
        for name, pair in reversed(limits):
            resource.prlimit(0, name, pair)
        if umask is not None:
            os.umask(umask)


@cache
def _touched_signals() -> list[signal.Signals | int]:
    """Return the signals that are not at their default here; after the start that does not change."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_DFL]
