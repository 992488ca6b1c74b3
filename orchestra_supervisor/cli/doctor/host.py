"""The host: versions, what its kernel can do for us, limits, room on its disks, its clock."""

import ctypes
import os
import platform
import resource
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.cli.doctor.fleet import Sight
from orchestra_supervisor.cli.doctor.verdict import Check, Verdict
from orchestra_supervisor.cli.text import format_size

__all__ = ["host_checks"]

_PR_GET_CHILD_SUBREAPER = 37  # <linux/prctl.h>
_FDS_OF_SERVICE = 8  # descriptors that keeper and logger hold of a service, generously
_FDS_OF_OURS = 128
_PAGES_OF_SERVICE = 32  # of its two pipes, 64 KiB each
_WATCHES = 8_192  # folders that a tree of sources may well have
_ROOM_WARN, _ROOM_FAIL = 512 << 20, 16 << 20  # bytes
_EPOCH = 1_735_689_600.0  # 2025: a clock before it was never set
_PROC_SYS = Path("/proc/sys")


def host_checks(home: Path, sight: Sight) -> Iterator[tuple[str, Check]]:
    """Yield the checks, each with its subject."""
    yield "versions", partial(_versions, sight)
    yield "kernel", _kernel
    yield "cgroup", partial(_cgroup, sight)
    yield "inotify", _inotify
    yield "limits", partial(_limits, sight)
    yield "pipes", partial(_pipes, sight)
    for name, folder in (("state directory", home), ("logs", sight.log_directory or home / "logs")):
        yield name, partial(_folder, name, folder)
    yield "clock", partial(_clock, home)


def _versions(sight: Sight) -> list[Verdict]:
    text = (
        f"orchestra {VERSION}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    )
    running = sight.status.daemon.version if sight.status is not None else ""
    if running and running != VERSION:
        hint = "`orchestra upgrade-daemon` puts the installed one in its place"
        return [Verdict("versions", "warn", f"{text}; the daemon runs {running}", hint)]
    return [Verdict("versions", "ok", text)]


def _kernel() -> list[Verdict]:
    """Return what is used of the kernel; without it there is another way, slower or less sure."""
    missing: list[str] = []
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        missing.append("pidfd (ends are seen by SIGCHLD)")
    if ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(ctypes.c_int()), 0, 0, 0):
        missing.append("subreaper (orphans of services go to init)")
    if not hasattr(os, "splice"):
        missing.append("splice (log bytes are copied)")
    if missing:
        return [Verdict("kernel", "warn", f"without {', '.join(missing)}", "Linux 5.4 or newer has them all")]
    return [Verdict("kernel", "ok", "pidfd, subreaper and splice are there")]


def _cgroup(sight: Sight) -> list[Verdict]:
    """Return by what the runs of the fleet are known besides ancestry, and which limits are held."""
    if sight.status is None:
        return [Verdict("cgroup", "ok", "the daemon would tell what is in use; it does not answer")]
    daemon = sight.status.daemon
    if daemon.cgroup_version is None:
        if unheld := sight.status.unheld:
            text = f"none is delegated: limits on cpu and pids of {', '.join(unheld)} are not held"
            hint = "Delegate=yes in a unit, or directories in ORCHESTRA_CGROUP"
            return [Verdict("cgroup", "warn", text, hint)]
        return [Verdict("cgroup", "ok", "none is delegated: runs are known by ancestry, memory is watched")]
    limits = ", ".join(daemon.cgroup_limits) or "none"
    text = f"each run has one of version {daemon.cgroup_version}; limits held: {limits}"
    return [Verdict("cgroup", "ok", text)]


def _inotify() -> list[Verdict]:
    watches, instances = _sysctl("fs/inotify/max_user_watches"), _sysctl("fs/inotify/max_user_instances")
    if watches is None:
        return [Verdict("inotify", "ok", "not of this system")]
    text = f"{watches} watches, {instances} instances"
    if watches < _WATCHES:
        hint = f"sysctl fs.inotify.max_user_watches={_WATCHES * 16}"
        return [Verdict("inotify", "warn", f"{text}: a large tree cannot be watched", hint)]
    return [Verdict("inotify", "ok", text)]


def _limits(sight: Sight) -> list[Verdict]:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    whose = "of this shell"
    if sight.keeper:
        of_keeper = _open_files_of(sight.keeper)
        files, whose = (files, whose) if of_keeper is None else (of_keeper, "of the keeper")
    text = f"{_spoken(files)} open files ({whose}), {_spoken(processes)} processes"
    needed = sight.size * _FDS_OF_SERVICE + _FDS_OF_OURS
    if 0 <= files < needed:
        hint = f"ulimit -n {needed * 2}, or LimitNOFILE= of its unit, before `up`"
        return [Verdict("limits", "fail", f"{text}; {sight.size} services need some {needed}", hint)]
    if 0 <= processes < 4 * sight.size + 64:
        return [Verdict("limits", "warn", text, "ulimit -u, or TasksMax= and LimitNPROC= of its unit")]
    return [Verdict("limits", "ok", text)]


def _open_files_of(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8").splitlines()
        word = next(line for line in lines if line.startswith("Max open files")).split()[3]
    except (OSError, StopIteration, IndexError):
        return None
    return int(word) if word.isdecimal() else -1


def _pipes(sight: Sight) -> list[Verdict]:
    soft = _sysctl("fs/pipe-user-pages-soft")
    needed = sight.size * _PAGES_OF_SERVICE
    if not soft or os.geteuid() == 0:
        return [Verdict("pipes", "ok", "no bound on the pages of pipes for this user")]
    text = f"{soft} pages for the pipes of this user"
    if needed > soft:
        hint = "sysctl fs.pipe-user-pages-soft: over it new pipes hold one page, and chatty services wait"
        return [Verdict("pipes", "warn", f"{text}; {sight.size} services want {needed}", hint)]
    return [Verdict("pipes", "ok", text)]


def _folder(subject: str, folder: Path) -> list[Verdict]:
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if nearest is folder and not folder.is_dir():
        return [
            Verdict(subject, "fail", f"{folder} is no directory", "move it away, or choose another --home")
        ]
    if not os.access(nearest, os.W_OK | os.X_OK):
        hint = "run as its owner, or choose another --home"
        return [Verdict(subject, "fail", f"{nearest} cannot be written by uid {os.geteuid()}", hint)]
    facts, room = nearest.stat(), os.statvfs(nearest)
    free = room.f_bavail * room.f_frsize
    text = f"{folder}: {format_size(free)} free"
    if nearest is folder and facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
        return [Verdict(subject, "fail", f"{folder} may be written by everybody", f"chmod o-w {folder}")]
    if free < _ROOM_FAIL or (room.f_files and not room.f_favail):
        return [
            Verdict(subject, "fail", f"{text}: the disk is full", "free space; what waits is written then")
        ]
    if free < _ROOM_WARN:
        return [
            Verdict(subject, "warn", text, "free space, or let logs keep less: log.max_bytes, log.backups")
        ]
    return [Verdict(subject, "ok", text if nearest is folder else f"{text}; it will be made")]


def _clock(home: Path) -> list[Verdict]:
    now = time.time()
    if now < _EPOCH:
        return [
            Verdict("clock", "fail", f"it is {time.strftime('%Y-%m-%d')} here", "set the clock: chrony, ntpd")
        ]
    try:
        ahead = (home / "fleet.json").stat().st_mtime - now
    except OSError:
        ahead = 0.0
    if ahead > 60:
        text = f"the fleet was applied {ahead:.0f} s from now: the clock was set back"
        return [
            Verdict("clock", "warn", text, "times of events and logs overlap; nothing else depends on them")
        ]
    return [Verdict("clock", "ok", time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(now)))]


def _sysctl(name: str) -> int | None:
    try:
        return int((_PROC_SYS / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _spoken(limit: int) -> str:
    return "unlimited" if limit < 0 else str(limit)
