"""Fork and exec: everything that happens between the request and the program's first instruction.

The parent prepares all that can fail or take memory; the child only makes system calls. A failure
comes back as (stage, errno) over a close-on-exec pipe that the parent never blocks on. Where the daemon
allows it and nothing needs Python in the child, there is none (`direct`).
"""

import errno
import fcntl
import os
import resource
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from orchestra_supervisor.keeper.before import BeforeFailed, run_before
from orchestra_supervisor.keeper.cgroups import Group, write_file
from orchestra_supervisor.keeper.direct import DEFAULT_PATH, Footing, Place, is_possible, spawn_directly
from orchestra_supervisor.keeper.fork import die_with, fork, fork_into
from orchestra_supervisor.keeper.handover import (
    Ends,
    Handed,
    arrange,
    environment,
    environment_of_first,
    hand_over,
)
from orchestra_supervisor.keeper.identity import Identity, SpawnFailure, resolve_identity
from orchestra_supervisor.keeper.request import SpawnRequest
from orchestra_supervisor.keeper.tree import TAG_LIMIT
from orchestra_supervisor.wire.channel import FD_VARIABLE

__all__ = [
    "STAGES",
    "Spawned",
    "Surroundings",
    "close_all",
    "enlarge",
    "is_reserved",
    "make_pipes",
    "new_tag",
    "read_failure",
    "spawn_role",
    "spawn_run",
]

STAGES = (
    "socket",
    "notify",
    "pipe",
    "fork",
    "session",
    "stdio",
    "cgroup",
    "nice",
    "oom",
    "rlimit",
    "group",
    "user",
    "umask",
    "chdir",
    "pre_start",
    "exec",
)
"""What may fail, in the order in which it happens. docs/keeper-protocol.md names them."""

_PIPE_SIZE = 1024 * 1024  # bytes that wait in a pipe while its reader is away; the usual limit for a user
_RESERVE = 16
_REPORT = struct.Struct("!BIB")  # stage, errno or how a command ended, index of the command
_tag_base = int.from_bytes(os.urandom(4), "big") << 28  # other keepers' tags must not look like ours


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the keeper was started with, and gives back to its children.

    Attributes:
        null: Descriptor of /dev/null, above 2.
        files: Soft and hard RLIMIT_NOFILE before the keeper raised its own.
        max_fd: No descriptor of the keeper is higher.
        footing: From where programs are started directly; None: they are not.
        handed_down: Listening sockets of the service manager, by its names for them.
    """

    null: int
    files: tuple[int, int]
    max_fd: int
    footing: Footing | None = None
    handed_down: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What bounds a child besides its rights: resource limits, and control groups that it has to enter."""

    limits: Sequence[tuple[int, tuple[int, int]]]
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class Spawned:
    """A forked process. All descriptors are the parent's, non-blocking and close-on-exec.

    Attributes:
        pid: The process; with a `status_fd` it may not have executed its program yet.
        status_fd: End of file when exec has succeeded, else what `read_failure` reads; None: it has.
        streams: Read ends by name; empty when the output is discarded, stderr alone for a stdio server.
        uid: As whom it runs, or None: as we do.
    """

    pid: int
    status_fd: int | None
    streams: dict[str, int]
    uid: int | None


def new_tag(serial: int) -> int:
    """Return the mark of a run, by its number within this keeper."""
    return _tag_base + serial


def spawn_run(request: SpawnRequest, around: Surroundings, handed: Handed) -> Spawned:
    """Start the process of a run, or one beside it.

    Args:
        request: What to start.
        around: The keeper's surroundings.
        handed: What it gets.

    Raises:
        SpawnFailure: At stage pipe, fork, group or user.
    """
    identity = resolve_identity(request)
    limits = _limits(request, around, handed.tag)
    env = environment(request, handed)
    names = () if request.log is None else ("stderr",) if request.stdio else ("stdout", "stderr")
    logged = make_pipes(len(names))
    for read_end, _ in logged:
        os.set_blocking(read_end, False)  # os takes it by position only
        enlarge(read_end)
    # What first commands of a stdio server write to stdout is logged beside their stderr.
    out, err = (logged[0][1], logged[-1][1]) if logged else (around.null, around.null)
    standard = (around.null, out, err)
    pid, status = None, None
    try:
        if around.footing is not None and _is_plain(request, identity, handed):
            place = Place(request.cwd, request.umask, limits)
            near = (*handed.stdio, *standard[len(handed.stdio) :])
            pid = spawn_directly(request.argv, env, near, place, around.footing)
        if pid is None:
            sockets = [fd for _, fd in handed.sockets]

            def child(entered: Sequence[str], report: int) -> None:
                """Become the program, having entered these groups by hand."""
                ends = Ends(standard, report, sockets, handed.channel, handed.stdio)
                _become(request, identity, _Bounds(limits, entered), ends, env, around.max_fd)

            pid, status = _fork(handed.group, child)
    except SpawnFailure:
        close_all([read_end for read_end, _ in logged])
        raise
    finally:
        close_all([write_end for _, write_end in logged])
    streams = {name: read_end for name, (read_end, _) in zip(names, logged, strict=True)}
    return Spawned(pid, status, streams, identity.uid)


def _is_plain(request: SpawnRequest, identity: Identity, handed: Handed) -> bool:
    """Return whether nothing has to be done by the child itself, and the daemon lets us wait for its exec."""
    return (
        request.direct
        and not (request.before or request.rlimits or handed.sockets)
        and handed.group is None  # a child is born in it, or has to enter it itself
        and handed.channel is None
        and request.nice is None
        and request.oom_score_adj is None
        and not request.watchdog  # whose pid it has to know
        and identity == Identity(None, None, None)
        and is_possible()
    )


def _fork(group: Group | None, child: Callable[[Sequence[str], int], None]) -> tuple[int, int]:
    """Fork a child with a pipe for its report; return its pid and the end of the pipe to read.

    Raises:
        SpawnFailure: At stage pipe or fork.
    """
    ((report_read, report_write),) = make_pipes(1)
    os.set_blocking(report_read, False)  # os takes it by position only
    try:
        return fork_into(group, lambda entered: child(entered, report_write)), report_read
    except OSError as error:
        os.close(report_read)
        raise SpawnFailure("fork", error.errno or errno.EAGAIN) from error
    finally:
        os.close(report_write)


def make_pipes(count: int) -> list[tuple[int, int]]:
    """Return so many pipes, each as (read end, write end).

    Raises:
        SpawnFailure: At stage pipe: no more descriptors may be given away. None is left open.
    """
    pipes: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            pipes.append(os.pipe())  # noqa: PERF401  # what was made is closed when a later one fails
        if pipes and is_reserved(max(map(max, pipes))):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    except OSError as error:
        close_all([fd for pipe in pipes for fd in pipe])
        raise SpawnFailure("pipe", error.errno or errno.EMFILE) from error
    return pipes


def enlarge(fd: int) -> None:
    """Let as much wait in a pipe as the kernel allows, up to 1 MiB."""
    setter = getattr(fcntl, "F_SETPIPE_SZ", None)
    if setter is not None:
        with suppress(OSError):  # over the user's share of pipe memory: the usual 64 KiB must do
            fcntl.fcntl(fd, setter, _PIPE_SIZE)


def spawn_role(argv: Sequence[str], fd: int, around: Surroundings, *, dies_with_us: bool) -> int:
    """Fork the daemon or the logger, with one descriptor besides stdin, stdout and stderr.

    Args:
        argv: Command line; argv[0] is looked up in our own PATH.
        fd: The peer's end of the socketpair; its number there is in ORCHESTRA_KEEPER_FD.
        around: The keeper's surroundings.
        dies_with_us: The kernel kills it when the keeper ends, however that happens.

    Returns:
        The pid. When it cannot be executed it says so on stderr and ends with status 127.

    Raises:
        OSError: No process could be forked.
    """
    env = {**os.environb, FD_VARIABLE.encode("ascii"): b"3"}
    command = [os.fsencode(item) for item in argv]
    parent = os.getpid()

    def child() -> None:
        try:
            os.setsid()
            if dies_with_us and not die_with(parent):
                os._exit(1)
            os.dup2(around.null, 0)
            os.dup2(fd, 3) if fd != 3 else os.set_inheritable(3, True)  # noqa: FBT003  # by position only
            os.closerange(4, around.max_fd + 1)
            _execute(command, env)
        except OSError as error:
            os.write(2, f"orchestra keeper: cannot run {argv[0]}: {error.strerror}\n".encode())

    return fork(child)


def read_failure(status_fd: int) -> tuple[str, int, int] | None:
    """Return (stage, errno, index) of a child that failed, or None when it has executed its program.

    At stage `pre_start` the index tells which command, and the number how it ended (`before.outcome_text`).

    Raises:
        BlockingIOError: Neither has happened yet.
    """
    report = os.read(status_fd, _REPORT.size)
    if len(report) < _REPORT.size:
        return None
    stage: int
    number: int
    index: int
    stage, number, index = _REPORT.unpack(report)
    return STAGES[stage], number, index


def is_reserved(fd: int) -> bool:
    """True for one of the last descriptors that the limit allows: those are kept for looking at /proc."""
    return fd >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVE


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)


def _become(
    request: SpawnRequest,
    identity: Identity,
    bounds: _Bounds,
    ends: Ends,
    env: dict[bytes, bytes],
    max_fd: int,
) -> None:
    """Turn a fresh child into the program of a run, or report the stage that failed.

    Args:
        request: What to become.
        identity: As whom.
        bounds: Within what.
        ends: Its descriptors.
        env: The environment.
        max_fd: No descriptor is higher.
    """
    status = ends.status
    stage = "session"
    number, index = errno.EINVAL, 0
    try:
        os.setsid()
        stage = "stdio"
        status = arrange(ends)
        os.closerange(ends.last + 1, max_fd + 1)
        for stage, act in _steps(request, identity, bounds):  # noqa: B007  # the stage is reported below
            act()
        stage = "pre_start"
        plain = environment_of_first(env)
        for index, command in enumerate(request.before):  # noqa: B007  # likewise
            run_before(command, lambda argv: _execute(argv, plain))
        stage = "exec"
        hand_over(ends)
        if ends.sockets:
            env = env | {b"LISTEN_PID": str(os.getpid()).encode("ascii")}
        if b"WATCHDOG_USEC" in env:
            env = env | {b"WATCHDOG_PID": str(os.getpid()).encode("ascii")}
        _execute(request.argv, env)
    except BeforeFailed as failure:
        number = failure.number
    except OSError as error:
        number = error.errno or errno.EINVAL
    except (ValueError, OverflowError, MemoryError):
        number = errno.EINVAL
    os.write(status, _REPORT.pack(STAGES.index(stage), number, index))


def _steps(
    request: SpawnRequest, identity: Identity, bounds: _Bounds
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is to be done between stdio and exec, in order: rights are dropped after they are used.

    Groups that come with the user fail as stage user: that is the key which asked for them.
    """
    for path in bounds.groups:
        yield "cgroup", partial(write_file, f"{path}/cgroup.procs", b"0")
    if request.nice is not None:
        yield "nice", partial(os.setpriority, os.PRIO_PROCESS, 0, request.nice)
    if request.oom_score_adj is not None:
        yield (
            "oom",
            partial(write_file, "/proc/self/oom_score_adj", str(request.oom_score_adj).encode("ascii")),
        )
    for name, pair in bounds.limits:
        yield "rlimit", partial(resource.prlimit, 0, name, pair)  # tells EPERM from EINVAL, unlike setrlimit
    if identity.groups is not None:
        yield "user" if request.groups is None else "group", partial(os.setgroups, identity.groups)
    if identity.gid is not None:
        yield "user" if request.group is None else "group", partial(os.setgid, identity.gid)
    if identity.uid is not None:
        yield "user", partial(os.setuid, identity.uid)
    if request.umask is not None:
        yield "umask", partial(os.umask, request.umask)
    if request.cwd is not None:
        yield "chdir", partial(os.chdir, request.cwd)


def _execute(argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    """Replace the process, looking for a name without a slash in the PATH of `env`.

    Raises:
        OSError: EACCES when a file was found that may not be executed, else the last error.
    """
    if b"/" in argv[0]:
        os.execve(argv[0], argv, env)  # noqa: S606  # the operator's command, without a shell
    denied: OSError | None = None
    for directory in env.get(b"PATH", DEFAULT_PATH).split(b":"):
        try:
            os.execve(os.path.join(directory, argv[0]), argv, env)  # noqa: S606  # likewise
        except PermissionError as error:
            denied = error
        except (FileNotFoundError, NotADirectoryError):
            continue
    raise denied or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _limits(request: SpawnRequest, around: Surroundings, tag: int) -> list[tuple[int, tuple[int, int]]]:
    limits = {resource.RLIMIT_NOFILE: around.files}
    if sys.platform == "linux" and resource.getrlimit(TAG_LIMIT)[1] == resource.RLIM_INFINITY:
        limits[TAG_LIMIT] = (tag, resource.RLIM_INFINITY)
    limits.update(request.rlimits)
    return list(limits.items())
