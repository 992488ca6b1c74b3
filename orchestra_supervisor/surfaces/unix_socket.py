"""A listening Unix socket that is never reachable with the wrong mode, and never anybody else's.

It is made under a private name, given its mode and group, and only then renamed to where
clients look for it; what a dead daemon left there is replaced, what answers is not.
"""

import contextlib
import errno
import grp
import hashlib
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.model.errors import ConfigError, ConflictError

__all__ = ["BACKLOG", "MAX_SOCKET_PATH", "BoundSocket", "bind_unix_socket", "place_socket"]

MAX_SOCKET_PATH = 107
"""Bytes of a path in `sockaddr_un`, the closing NUL aside. Source: unix(7)."""
BACKLOG = 256
"""Connections that wait to be accepted; the design has 100 attached clients."""


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A socket that listens.

    Attributes:
        sock: The socket; whoever takes it closes it.
        path: Where it is reachable: the wanted path, or a short one.
        pointer: The file that names the short path, or None.
        file: Device and inode of the socket file, by which it is known as ours.
    """

    sock: socket.socket
    path: Path
    pointer: Path | None
    file: tuple[int, int]

    def release(self) -> None:
        """Close the socket and remove its files, unless a newer daemon has put its own there."""
        self.sock.close()
        try:
            found = self.path.lstat()
        except OSError:
            return
        if (found.st_dev, found.st_ino) != self.file:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()
        if self.pointer is not None:
            with contextlib.suppress(OSError):
                self.pointer.unlink()
            for folder in (self.path.parent, self.path.parent.parent):
                with contextlib.suppress(OSError):
                    folder.rmdir()  # ours alone, and only when empty


def bind_unix_socket(path: Path, *, mode: int = 0o600, group: str | None = None) -> BoundSocket:
    """Listen on a Unix socket. Blocks for a moment: call it in a worker thread.

    Args:
        path: Where clients look for it. Over MAX_SOCKET_PATH, a short path in a directory of our
            own is taken, and `<stem>.path` beside the wanted path names it.
        mode: Permissions of the socket file.
        group: Name of the group that it belongs to, or None.

    Returns:
        The listening socket.

    Raises:
        ConflictError: Somebody answers there, something else is there, or it cannot be made.
        ConfigError: There is no such group, or we may not give files to it.
    """
    path = path.absolute()
    gid = None if group is None else _group_id(group)
    try:
        place = path if _fits(path) else _short_folder(path, gid) / path.name
        pointer = path.with_name(path.stem + ".path")
        _refuse_others(place)
        bound = _bind(place, mode, gid, None if place == path else pointer)
        try:
            if place == path:
                pointer.unlink(missing_ok=True)
            else:
                _write_pointer(pointer, place)
        except OSError:
            bound.release()
            raise
    except OSError as error:
        raise ConflictError(
            f"{path}: the control socket cannot be made: {error.strerror}",
            hint=f"make {path.parent} a directory that is writable, or choose another home with --home",
            path=str(path),
        ) from error
    return bound


def place_socket(path: Path, group: str | None = None) -> Path:
    """Return where the keeper is to open a socket; `<stem>.path` tells it where that is not the wanted place.

    Args:
        path: Where clients look for it.
        group: Name of the group that it will belong to, or None.

    Raises:
        ConflictError: No place can be had.
        ConfigError: There is no such group, or we may not give files to it.
    """
    path = path.absolute()
    gid = None if group is None else _group_id(group)
    pointer = path.with_name(path.stem + ".path")
    try:
        if _fits(path):
            pointer.unlink(missing_ok=True)
            return path
        place = _short_folder(path, gid) / path.name
        _write_pointer(pointer, place)
    except OSError as error:
        hint = f"make {path.parent} a directory that is writable, or choose another home with --home"
        text = f"{path}: there is no place for this socket: {error.strerror}"
        raise ConflictError(text, hint=hint, path=str(path)) from error
    return place


def _bind(place: Path, mode: int, gid: int | None, pointer: Path | None) -> BoundSocket:
    private = _private_name(place)
    private.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        # Linux makes the file with the descriptor's mode: private from its first moment, whatever the umask.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(str(private))
        try:
            if gid is not None:
                _give_to_group(private, gid)
            private.chmod(mode)
            sock.listen(BACKLOG)
            made = private.lstat()
            private.rename(place)
        except BaseException:
            private.unlink(missing_ok=True)
            raise
    except BaseException:
        sock.close()
        raise
    return BoundSocket(sock, place, pointer, (made.st_dev, made.st_ino))


def _private_name(place: Path) -> Path:
    return place.with_name(f".{os.getpid():x}")


def _fits(path: Path) -> bool:
    return max(len(os.fsencode(path)), len(os.fsencode(_private_name(path)))) <= MAX_SOCKET_PATH


def _refuse_others(place: Path) -> None:
    try:
        found = place.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConflictError(f"{place}: there is something that is not a socket", hint=f"move {place} away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(0)
        code = trial.connect_ex(str(place))
    if code not in {errno.ECONNREFUSED, errno.ENOENT}:
        raise ConflictError(
            f"{place}: another daemon answers there",
            hint="`orchestra status` shows it, `orchestra down` ends it",
        )


def _group_id(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigError(
            f"settings.control_group: there is no group {group!r}", hint="create it, or name another"
        ) from error


def _give_to_group(path: Path, gid: int) -> None:
    try:
        os.chown(path, -1, gid)
    except PermissionError as error:
        raise ConfigError(
            f"settings.control_group: this user may not give files to the group of id {gid}",
            hint="add the user to the group, or name a group that the user belongs to",
        ) from error


def _short_folder(path: Path, gid: int | None) -> Path:
    """Return a private directory with a short name; the same one for the same home wherever possible."""
    leaf = hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:16]
    own = f"orchestra-{os.geteuid()}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    roots = [Path("/run") / own, Path(tempfile.gettempdir()) / own]
    if runtime and gid is None:  # others, group members too, cannot enter a user's runtime directory
        roots.insert(0, Path(runtime) / "orchestra")
    for root in roots:
        folder = root / leaf
        if not _fits(folder / path.name):
            continue
        try:
            _make_own(root, 0o711)
            _make_own(folder, 0o700 if gid is None else 0o710)
            if gid is not None:
                _give_to_group(folder, gid)
        except OSError:  # not writable, or somebody else's: the next one
            continue
        return folder
    folder = Path(tempfile.mkdtemp(prefix="orchestra-"))
    if gid is not None:
        _give_to_group(folder, gid)
        folder.chmod(0o710)
    return folder


def _make_own(folder: Path, mode: int) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "somebody else's", str(folder))
    folder.chmod(mode)


def _write_pointer(pointer: Path, place: Path) -> None:
    fresh = pointer.with_name(f".{pointer.name}.{os.getpid():x}")
    try:
        fresh.write_text(f"{place}\n", encoding="utf-8")
        fresh.replace(pointer)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
