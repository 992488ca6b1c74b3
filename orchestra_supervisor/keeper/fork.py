"""Forks: a child with every signal at its default, born in its control group where the kernel can."""

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from orchestra_supervisor.keeper.cgroups import Group

__all__ = ["become_subreaper", "die_with", "fork", "fork_into"]

_ALL_SIGNALS = signal.valid_signals()
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SYS_CLONE3 = 435  # the same number on every architecture
_CLONE_INTO_CGROUP = 0x200000000
_CLONE_ARGS = struct.Struct("=11Q")  # <linux/sched.h>, up to cgroup
_NO_CLONE = (  # an older kernel, or a sandbox that knows only the calls of one
    errno.ENOSYS,
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.E2BIG,
)


def become_subreaper() -> bool:
    """Let orphans of our descendants become our children. Returns False where the kernel cannot."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0


def die_with(parent: int) -> bool:
    """Have the kernel end this process when its parent ends. Returns False when that has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def fork_into(group: Group | None, child: Callable[[Sequence[str]], None]) -> int:
    """Fork a child that is born in its control group where the kernel can, and else enters it."""
    if group is None:
        return fork(partial(child, ()))
    if group.into is not None:
        directory = os.open(group.into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return fork(partial(child, group.joined), partial(_clone_into, directory))
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
        finally:
            os.close(directory)
    return fork(partial(child, group.paths))


def _clone_into(directory: int) -> int:
    """Fork by clone3(2) with CLONE_INTO_CGROUP.

    The interpreter is not told of this fork. It has one thread, which holds the lock that it needs, and the
    child only makes system calls until it executes its program.
    """
    arguments = ctypes.create_string_buffer(
        _CLONE_ARGS.pack(_CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, directory)
    )
    pid = int(_syscall(ctypes.c_long(_SYS_CLONE3), arguments, ctypes.c_size_t(_CLONE_ARGS.size)))
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return pid


def fork(child: Callable[[], None], call: Callable[[], int] = os.fork) -> int:
    """Fork; the child runs `child` with every signal at its default and none held back, and then ends.

    Args:
        child: Executes a program; ends the process with 127 when it returns.
        call: The system call, as `os.fork`.

    Returns:
        The child's pid.

    Raises:
        OSError: There is no child.
    """
    # A signal between fork and exec would be written into the wake-up socket that parent and child
    # share there, and the keeper would take it for its own; so all are held back until handlers are reset.
    signal.pthread_sigmask(signal.SIG_SETMASK, _ALL_SIGNALS)
    try:
        pid = call()
        if not pid:
            _run_child(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return pid


def _run_child(child: Callable[[], None]) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in _ALL_SIGNALS:
            if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) != signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        child()
    finally:
        os._exit(127)


def _load_prctl() -> Callable[[int, int], int]:
    try:
        function = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return lambda _option, _value: -1

    def prctl(option: int, value: int) -> int:
        unused = ctypes.c_ulong(0)
        return int(function(option, ctypes.c_ulong(value), unused, unused, unused))

    return prctl


def _load_syscall() -> Callable[..., int]:
    try:
        function = ctypes.PyDLL(None, use_errno=True).syscall  # PyDLL: a child must not wait for the lock
    except (OSError, AttributeError):
        return lambda *_arguments: -1
    function.restype = ctypes.c_long
    return function


_prctl = _load_prctl()
_syscall = _load_syscall()
