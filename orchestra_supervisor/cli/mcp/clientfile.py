"""A client's file on disk: read with care, shown as a difference, backed up, replaced whole or not at all."""

import json
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.mcp.jsontext import JsonText
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.model.errors import ConfigError, ConflictError

__all__ = ["ClientFile", "difference"]

_MASKED = {"env", "headers"}
_BOM = "\ufeff"
_LIMIT = 64 * 1024 * 1024  # bytes; Claude Code's file grows to some megabytes
_NEW_MODE = 0o600  # entries may hold secrets


class ClientFile:
    """One file as it was when it was read.

    Args:
        path: Where it stands, or is to stand; a symbolic link is followed and stays one.
        is_strict: Its reader refuses comments.

    Raises:
        ConfigError: It is malformed; says where.
        ActionFailed: It cannot be read.
    """

    def __init__(self, path: Path, *, is_strict: bool = False) -> None:
        self.path = path
        self.target = Path(os.path.realpath(path))
        self._facts: os.stat_result | None = None
        self._data = b""
        try:
            with open(self.target, "rb") as file:  # noqa: PTH123 - the facts are of what was read
                self._facts = os.fstat(file.fileno())
                if not stat.S_ISREG(self._facts.st_mode):
                    raise ConflictError(f"{path} is not a regular file", hint="move it away")
                self._data = file.read(_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise ActionFailed(f"{path} cannot be read: {error.strerror}") from error
        if len(self._data) > _LIMIT:
            raise ConfigError(f"{path} is larger than {_LIMIT} bytes", hint="nothing was changed")
        text = _decoded(self._data, path)
        self._bom = _BOM if text.startswith(_BOM) else ""
        self.json = JsonText(text.removeprefix(_BOM), str(path), is_strict=is_strict)

    @property
    def exists(self) -> bool:
        """Tell whether it was there."""
        return self._facts is not None

    def check_writable(self) -> None:
        """Make sure that `write` may do its work.

        Raises:
            ActionFailed: The file is read-only or somebody else's.
        """
        facts = self._facts
        if facts is None:
            return
        if not facts.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise ActionFailed(f"{self.path} is read-only", hint=f"chmod u+w {self.target}")
        if facts.st_uid != os.geteuid() and os.geteuid() != 0:
            raise ActionFailed(
                f"{self.path} belongs to uid {facts.st_uid}, and you are uid {os.geteuid()}",
                hint="its owner has to do it; --print shows what to put into it",
            )

    def write(self, text: str) -> Path | None:
        """Replace its content; mode and owner stay.

        Returns:
            The backup of what was there, or None where nothing was.

        Raises:
            ActionFailed: It cannot be written, or somebody else wrote it meanwhile; it is as it was then.
        """
        self.check_writable()
        content = (self._bom + text).encode("utf-8")
        scratch = self.target.with_name(f".{self.target.name}.{os.getpid()}.new")
        backup: Path | None = None
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._put(scratch, content, _NEW_MODE)
            self._hold_unchanged()
            if self._facts is not None:
                backup = self._back_up()
            scratch.replace(self.target)
        except OSError as error:
            raise ActionFailed(
                f"{self.path} cannot be written: {error.strerror}", hint="nothing was changed"
            ) from error
        finally:
            with suppress(OSError):
                scratch.unlink()
        return backup

    def put_back(self) -> None:
        """Undo `write`."""
        if self._facts is None:
            self.target.unlink(missing_ok=True)
            return
        scratch = self.target.with_name(f".{self.target.name}.{os.getpid()}.old")
        self._put(scratch, self._data, _NEW_MODE)
        scratch.replace(self.target)

    def _put(self, place: Path, content: bytes, mode: int) -> None:
        """Write a new file with the mode and owner that the original has."""
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if self._facts is not None:
                    here = os.fstat(file.fileno())
                    if (here.st_uid, here.st_gid) != (self._facts.st_uid, self._facts.st_gid):
                        os.fchown(file.fileno(), self._facts.st_uid, self._facts.st_gid)
                    os.fchmod(file.fileno(), stat.S_IMODE(self._facts.st_mode))
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                place.unlink()
            raise

    def _back_up(self) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for number in range(100):
            suffix = f"-{number}" if number else ""
            place = self.target.with_name(f"{self.target.name}.{stamp}{suffix}.orchestra-backup")
            try:
                self._put(place, self._data, _NEW_MODE)
            except FileExistsError:
                continue
            return place
        raise FileExistsError(17, "too many backups of this second", str(self.target))

    def _hold_unchanged(self) -> None:
        try:
            now: bytes | None = self.target.read_bytes()
        except FileNotFoundError:
            now = None
        if now != (self._data if self._facts is not None else None):
            raise ActionFailed(
                f"{self.path} was written by somebody else in this moment",
                hint="nothing was changed; close the client, then do it again",
            )


def difference(path: Path, old: JsonText, new: JsonText) -> list[str]:
    """Return what changes, as `diff -u` shows it; values of `env` and `headers` are masked."""
    import difflib

    values = _values_of(old.root) | _values_of(new.root)
    lines = difflib.unified_diff(
        old.given.splitlines(keepends=True), new.text.splitlines(keepends=True), str(path), str(path), n=2
    )
    if not values:
        return [line.rstrip("\r\n") for line in lines]
    spelled = {json.dumps(value, ensure_ascii=is_ascii) for value in values for is_ascii in (True, False)}
    secret = re.compile(f"(:[ \\t]*)(?:{'|'.join(map(re.escape, spelled))})")
    return [secret.sub(r'\1"***"', line.rstrip("\r\n")) for line in lines]


def _values_of(node: Node, *, is_masked: bool = False) -> set[str]:
    if node.kind == "string":
        return {str(node.value)} if is_masked else set()
    found: set[str] = set()
    for name, member in node.members.items():
        found |= _values_of(member, is_masked=is_masked or name in _MASKED)
    return found


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: not UTF-8 at byte {error.start}", hint="nothing was changed; save it as UTF-8"
        ) from error
