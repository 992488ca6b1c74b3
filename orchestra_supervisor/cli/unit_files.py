"""Unit files on disk: where they belong, and how they get there whole or not at all."""

import difflib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.model.errors import ConflictError

__all__ = ["unit_directory", "write_units"]

_DIFF_LINES = 60


def unit_directory(env: Mapping[str, str], *, is_user: bool) -> Path:
    """Return where units are put by hand: for the system, or for the user."""
    if not is_user:
        return Path("/etc/systemd/system")
    return Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def write_units(directory: Path, files: Mapping[str, str], *, is_forced: bool) -> list[Path]:
    """Write files, each whole or not at all; nothing is written where one is in the way.

    Args:
        directory: Made where it is missing.
        files: Text by name.
        is_forced: Replace files that differ.

    Returns:
        Those that were written; files that are the same already are left alone.

    Raises:
        ConflictError: A file differs and may not be replaced; the difference is shown on stderr.
        ActionFailed: A file cannot be read or written.
    """
    due = {directory / name: text for name, text in files.items() if _present(directory / name) != text}
    if not is_forced:
        differing = [path for path in due if os.path.lexists(path)]
        for path in differing:
            _show_difference(path, due[path])
        if differing:
            raise ConflictError(
                f"{', '.join(map(str, differing))}: there, and different; nothing was written",
                hint="--force replaces it",
            )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in due.items():
            _replace(path, text)
    except OSError as error:
        raise ActionFailed(
            f"cannot write {error.filename or directory}: {error.strerror}",
            hint="--user installs for you alone; --directory DIR writes elsewhere",
        ) from error
    return list(due)


def _present(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ActionFailed(f"cannot read {path}: {error.strerror}") from error


def _show_difference(path: Path, text: str) -> None:
    old = (_present(path) or "").splitlines()
    lines = list(difflib.unified_diff(old, text.splitlines(), str(path), "new", lineterm=""))
    for line in lines[:_DIFF_LINES]:
        sys.stderr.write(f"{line}\n")
    if len(lines) > _DIFF_LINES:
        sys.stderr.write(f"... and {len(lines) - _DIFF_LINES} lines more\n")


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        with suppress(OSError):
            scratch.unlink()
        raise
