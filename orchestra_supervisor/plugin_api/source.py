"""Finds a plugin's code and imports it: a file, a module, or an entry point.

A file is refused when anybody but root and us may change it, or a folder above it: what it says is run.
"""

import importlib
import importlib.util
import os
import stat
import sys
from pathlib import Path
from types import ModuleType

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.model.plugin import ENTRY_POINT_PREFIX
from orchestra_supervisor.plugin_api.hooks import ENTRY_POINT_GROUP

__all__ = ["Stamp", "entry_point_names", "import_source", "is_file", "stamp_of"]

MAX_FILE_SIZE = 1024 * 1024
"""Bytes of a plugin's file."""

Stamp = tuple[int, ...]
"""Changes when the file does; empty for what is no file."""


def is_file(source: str) -> bool:
    """Tell whether a source is a file."""
    return source.startswith("/")


def entry_point_names() -> list[str]:
    """Return the names in the entry point group, in order."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # 2 MB, for the fleets that ask for it

    return sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)})


def stamp_of(source: str) -> Stamp:
    """Return the stamp of a source's file as it is now."""
    try:
        status = os.stat(source) if is_file(source) else None  # noqa: PTH116 - a source may be no path
    except (OSError, ValueError):
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size) if status else ()


def import_source(source: str, serial: int) -> ModuleType:
    """Import a plugin; runs its code, so call it in the plugin's thread.

    Args:
        source: An absolute path, a dotted name, or `entry-point:NAME`.
        serial: Makes the module's name unique: a file that has changed is a new module.

    Raises:
        PluginError: There is no such plugin, or its file may be changed by others.
        Exception: Whatever the plugin raises.
    """
    if is_file(source):
        return _import_file(Path(source), serial)
    if source.startswith(ENTRY_POINT_PREFIX):
        from importlib.metadata import entry_points  # noqa: PLC0415  # likewise

        name = source.removeprefix(ENTRY_POINT_PREFIX)
        for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
            found = point.load()
            if isinstance(found, ModuleType):
                return found
            raise PluginError(f"entry point {name} is not a module", hint='write `NAME = "package.module"`')
        known = ", ".join(entry_point_names()) or "none"
        hint = f"installed in the group {ENTRY_POINT_GROUP}: {known}"
        raise PluginError(f"no package brings an entry point {name}", hint=hint)
    try:
        found = importlib.util.find_spec(source)
    except ModuleNotFoundError:
        found = None
    except ValueError as error:
        raise PluginError(f"{source!r} is not the name of a module", hint='a file is "./name.py"') from error
    if found is None:
        raise PluginError(f"there is no module {source}", hint='install it; a file is written "./name.py"')
    return importlib.import_module(source)


def _import_file(path: Path, serial: int) -> ModuleType:
    code = _read(path)
    name = f"orchestra_plugin_{serial}_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickling look it up
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)  # noqa: S102 - a plugin is code that is run
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _read(path: Path) -> bytes:
    """Read the very file that was judged, not one that takes its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise PluginError(
            f"{path}: no such file", hint="names are relative to the configuration file"
        ) from None
    except (OSError, ValueError) as error:
        raise PluginError(f"{path} cannot be read: {error}", hint="check its owner and mode") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PluginError(f"{path} is not a regular file", hint="name a Python file")
        _refuse_strangers(path, status)
        for folder in {
            *path.parents,
            *path.resolve().parents,
        }:  # a link leads past the folders that are named
            _refuse_strangers(folder, folder.stat())
        data = file.read(MAX_FILE_SIZE + 1)
    if len(data) > MAX_FILE_SIZE:
        raise PluginError(f"{path} is over {MAX_FILE_SIZE} bytes", hint="is it the right file?")
    return data


def _refuse_strangers(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    # In a folder with the sticky bit, others cannot replace what is not theirs.
    if mode & 0o022 and not (stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX):
        raise PluginError(
            f"plugin refused: {path} has mode {mode:04o}: others may change it", hint=f"chmod go-w {path}"
        )
    if status.st_uid not in (0, os.geteuid()):
        raise PluginError(
            f"plugin refused: {path} belongs to user {status.st_uid}, not to root or to us",
            hint=f"chown {os.geteuid()} {path}",
        )
