"""From a command line to a serving keeper: surroundings, signals, and nothing left to chance."""

import gc
import json
import os
import resource
import signal
import socket
from dataclasses import dataclass, replace
from typing import cast

from orchestra_supervisor.journald import INFO
from orchestra_supervisor.keeper.cgroups import Cgroups, Hierarchy, find_delegated, parse_bases
from orchestra_supervisor.keeper.direct import Footing
from orchestra_supervisor.keeper.fork import become_subreaper
from orchestra_supervisor.keeper.inherited import take_listen_fds
from orchestra_supervisor.keeper.keeper import Keeper
from orchestra_supervisor.keeper.loop import say
from orchestra_supervisor.keeper.spawn import Surroundings
from orchestra_supervisor.keeper.tree import check_proc

__all__ = ["Boot", "main", "parse_boot"]

_FILES = 524_288  # descriptors: up to five a run and two a stray, with room; the usual hard limit
_HANDLED = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR2,
)
_EXIT_USAGE = 2


@dataclass(frozen=True, slots=True)
class Boot:
    """What the keeper is told on its command line."""

    home: str
    lock_fd: int | None
    daemon: list[str]
    logger: list[str]
    cgroups: list[str] | None
    """Control groups made for us; None: look whether our own is delegated. Empty: use none."""
    mark: str
    """Names the home in the names of control groups; letters and digits."""
    patience: float
    """Factor on the keeper's own waits, such as the 5 s for a daemon to answer; tests use less than 1."""


def parse_boot(text: str) -> Boot:
    """Parse BOOT_JSON.

    Raises:
        ValueError: It is not JSON of that form; the text says what is wrong.
    """
    parsed: object = json.loads(text)
    if not isinstance(parsed, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  # one exception for all that is wrong with it
    boot = cast("dict[str, object]", parsed)
    home, lock_fd = boot.get("home"), boot.get("lock_fd")
    if not isinstance(home, str) or not (lock_fd is None or isinstance(lock_fd, int)):
        raise ValueError("home is a path, lock_fd a number or null")
    patience = boot.get("patience", 1.0)
    if not isinstance(patience, int | float) or not 0 < patience <= 100:
        raise ValueError("patience is a factor over 0")
    cgroups, mark = boot.get("cgroups"), boot.get("mark", "none")
    if cgroups is not None:
        cgroups = _texts(boot, "cgroups")
    if not isinstance(mark, str) or not mark.isalnum():
        raise ValueError("mark is letters and digits")
    return Boot(
        home, lock_fd, _command(boot, "daemon"), _command(boot, "logger"), cgroups, mark, float(patience)
    )


def main(argv: list[str]) -> int:
    """Run the keeper.

    Args:
        argv: Command line; the last word is BOOT_JSON.

    Returns:
        The exit status.
    """
    try:
        boot = parse_boot(argv[1] if len(argv) == 2 else "")
    except (ValueError, RecursionError) as error:
        say(f"usage: python -I -S .../keeper/__main__.py BOOT_JSON ({error})")
        return _EXIT_USAGE
    handed_down = take_listen_fds()
    if handed_down:
        say(f"holds the sockets that the service manager handed down: {', '.join(handed_down)}", INFO)
    around = replace(_surroundings(), handed_down=handed_down)
    if not become_subreaper():
        say("this system has no child subreaper: a process that leaves its session may escape a stop")
    if not check_proc():
        say("/proc is missing or shows another pid namespace: only process groups can be stopped")
    pending: list[int] = []
    wake = _catch_signals(pending)
    keeper = Keeper(boot.daemon, boot.logger, around, _cgroups(boot), patience=boot.patience)
    # What is here now stays: without the collector's marks its pages stay shared with every fork.
    gc.collect()
    gc.freeze()
    gc.disable()
    return keeper.run(wake.fileno(), pending)


def _cgroups(boot: Boot) -> Cgroups:
    found: list[Hierarchy] = []
    try:
        found = find_delegated() if boot.cgroups is None else parse_bases(boot.cgroups)
    except OSError as error:
        say(f"control group {error.filename}: {error.strerror}; runs are known without control groups")
    cgroups = Cgroups(found, mark=boot.mark, key=os.urandom(4).hex())
    cgroups.sweep()
    try:
        cgroups.settle()
    except OSError as error:
        place = error.filename or "while moving into one of our own"
        say(f"runs are not limited by control groups: {error.strerror} ({place})")
    return cgroups


def _surroundings() -> Surroundings:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    while null <= 2:  # started with stdin, stdout or stderr closed: pipes must not get their numbers
        os.set_inheritable(null, True)  # noqa: FBT003  # os takes it by position only
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    # Whatever was handed down to us (the lock, a terminal's or an init's descriptors) is not for services.
    inherited = [int(name) for name in os.listdir("/dev/fd") if int(name) > 2]
    for fd in inherited:
        try:
            os.set_inheritable(fd, False)  # noqa: FBT003  # by position only
        except OSError:
            continue
    return Surroundings(null, (soft, hard), max([most, *inherited]), _find_footing(null))


def _find_footing(null: int) -> Footing | None:
    """Return what programs can be started from; None where there is no directory to come back to."""
    try:
        here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(here)
    except OSError:
        return None
    return Footing(here, [os.dup(null) for _ in range(3)])  # now, while low numbers are free


def _catch_signals(pending: list[int]) -> socket.socket:
    """Turn signals into numbers in `pending` and bytes in the returned socket."""
    wake, write_end = socket.socketpair()
    wake.setblocking(False)  # noqa: FBT003  # by position only
    write_end.setblocking(False)  # noqa: FBT003  # by position only
    # The bytes only wake: one that finds the socket full is dropped, the numbers are not.
    signal.set_wakeup_fd(write_end.detach(), warn_on_full_buffer=False)
    for number in _HANDLED:
        signal.signal(number, lambda received, _frame: pending.append(received))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return wake


def _command(boot: dict[str, object], key: str) -> list[str]:
    command = _texts(boot, key)
    if not command:
        raise ValueError(f"{key} is a command line")
    return command


def _texts(boot: dict[str, object], key: str) -> list[str]:
    value = boot.get(key)
    words = cast("list[object]", value) if isinstance(value, list) else [None]
    texts = [word for word in words if isinstance(word, str) and "\0" not in word]
    if len(texts) != len(words):
        raise ValueError(f"{key} is a list of texts")
    return texts
