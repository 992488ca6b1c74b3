"""Which programs lie on file systems of this host: executing one of those waits for no other machine.

The keeper may wait for the exec of such a program, and of no other
(docs/adr/0018-a-child-without-python.md).
Sources: proc_pid_mountinfo(5), path_resolution(7), execve(2).
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio import CapacityLimiter, to_thread

from orchestra_supervisor.model.spec import CommandCheck, ServiceSpec

__all__ = ["LocalFiles", "read_mounts"]

_LOCAL = frozenset(
    {
        *("bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660", "jfs", "ntfs3"),
        *("overlay", "ramfs", "reiserfs", "rootfs", "squashfs", "tmpfs", "ubifs", "vfat", "xfs", "zfs"),
    }
)
"""File systems that ask nobody else. What is not named here may: nfs, cifs, 9p, fuse, autofs, ceph, ..."""

_PATIENCE = 1.0  # seconds
_LINKS = 40  # in one path, as the kernel counts
_MOST = 10_000  # programs that are remembered; more come of many reloads alone
_HEAD = 256  # bytes that the kernel reads of a script's first line
_SYSTEM = (Path("/usr"), Path("/lib"), Path("/lib64"))  # where the program's own loader is
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ESCAPE = re.compile(r"\\([0-7]{3})")


def read_mounts(text: str | None = None) -> dict[str, str]:
    """Return the kind of file system at each mount point.

    Args:
        text: Of /proc/self/mountinfo; None: read it. Without one, nothing is taken for local.
    """
    if text is None:
        try:
            text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return {"/": "unknown"}
    mounts: dict[str, str] = {}
    for line in text.splitlines():
        place, _, kind = line.partition(" - ")
        fields = place.split(" ")
        if kind and len(fields) > 4:
            point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4])
            mounts[point] = kind.split(" ")[0]  # of several at one point the last is on top
    return mounts


@dataclass(frozen=True, slots=True)
class _Program:
    """What is executed, and how it is found: the PATH is empty where nothing is looked for in it."""

    name: str
    path: str
    cwd: str


class LocalFiles:
    """Remembers what was found about programs; of one that was never looked at, nothing is assumed.

    Args:
        environ: What services inherit.
        mounts: Returns the kind of file system at each mount point.
    """

    def __init__(
        self, environ: Mapping[str, str], mounts: Callable[[], Mapping[str, str]] = read_mounts
    ) -> None:
        self._mounts = mounts
        self._path = environ.get("PATH", _DEFAULT_PATH)
        self._found: dict[_Program, bool] = {}
        self._limiter = CapacityLimiter(1)

    async def look(self, services: Iterable[ServiceSpec]) -> None:
        """Look at the programs of services and of their probes, but do not wait for a bad disk."""
        programs: set[_Program] = set()
        for spec in services:
            probes = (spec.probes.startup, spec.probes.readiness, spec.probes.liveness)
            checks = [probe.check for probe in probes if probe is not None]
            commands = [check.argv for check in checks if isinstance(check, CommandCheck)]
            programs |= {self._program(spec, argv) for argv in (spec.argv, *commands)}
        with anyio.move_on_after(_PATIENCE):
            look = partial(to_thread.run_sync, limiter=self._limiter, abandon_on_cancel=True)
            found = await look(self._look_at, programs)
            self._found = self._found | found if len(self._found) < _MOST else found

    def has(self, spec: ServiceSpec, argv: Sequence[str]) -> bool:
        """Return whether all that the exec of a service's command touches was local when it was looked at."""
        return self._found.get(self._program(spec, argv), False)

    def _look_at(self, programs: Iterable[_Program]) -> dict[_Program, bool]:
        look = _Look(self._mounts())
        return {program: look.is_local(program) for program in programs}

    def _program(self, spec: ServiceSpec, argv: Sequence[str]) -> _Program:
        inherited = self._path if spec.inherit_env else _DEFAULT_PATH
        path = "" if "/" in argv[0] else spec.env.get("PATH", inherited)
        return _Program(argv[0], path, spec.cwd)


class _Elsewhere(Exception):
    """A path leads to a file system that may wait for others."""


class _Look:
    """A look at programs. What is not local is never touched: that could wait, too."""

    def __init__(self, mounts: Mapping[str, str]) -> None:
        self._elsewhere = {Path(point) for point, kind in mounts.items() if kind not in _LOCAL}
        self._resolved: dict[Path, Path] = {}

    def is_local(self, program: _Program) -> bool:
        """Return whether all that its exec touches is on local file systems."""
        try:
            for place in _SYSTEM:
                with suppress(FileNotFoundError):  # not every system has all of them
                    self._resolve(place)
            cwd = self._resolve(Path(program.cwd))
            with self._find(program, cwd).open("rb") as file:
                head = file.read(_HEAD)
            if head.startswith(b"#!"):
                interpreter, *_ = head[2:].split(b"\n")[0].split()
                self._resolve(cwd / os.fsdecode(interpreter))
        except (OSError, ValueError, _Elsewhere):
            return False
        return True

    def _find(self, program: _Program, cwd: Path) -> Path:
        if "/" in program.name:
            return self._resolve(cwd / program.name)
        for directory in program.path.split(":"):
            with suppress(OSError):
                file = self._resolve(cwd / directory / program.name)
                if os.access(file, os.X_OK) and file.is_file():
                    return file
        raise FileNotFoundError

    def _resolve(self, path: Path) -> Path:
        """Return an absolute path without links.

        Raises:
            OSError: It leads nowhere.
            _Elsewhere: It leads over another file system.
        """
        if path not in self._resolved:
            self._resolved[path] = self._follow(path)
        return self._resolved[path]

    def _follow(self, path: Path) -> Path:
        current, links = self._checked(Path("/")), 0
        pending = [*path.parts[:0:-1]]
        while pending:
            part = pending.pop()
            if part == "..":
                current = current.parent
                continue
            following = self._checked(current / part)
            try:
                target = following.readlink()
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                current = following  # no link
                continue
            links += 1
            if links > _LINKS:
                raise _Elsewhere
            pending += [part for part in reversed(target.parts) if part != target.root]
            current = Path("/") if target.is_absolute() else current
        return current

    def _checked(self, path: Path) -> Path:
        if path in self._elsewhere:
            raise _Elsewhere
        return path
