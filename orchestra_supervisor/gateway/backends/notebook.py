"""A JSON file that remembers something between two lives of the gateway.

Losing it costs time, never correctness: one that cannot be read counts as empty, one that cannot be
written is tried again with the next change. Written whole, beside, and put in place by a rename.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread

from orchestra_supervisor.gateway.messages import Json

__all__ = ["Notebook"]

_SETTLE = 0.05  # seconds between a change and the write, in which further changes join it
_WRITE_LIMIT = 5.0  # seconds for the last write when the gateway ends


class Notebook:
    """The file's content, and the task that writes it.

    Args:
        path: Of the file; its directory is made with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: Json = _read(path)
        """The content: change it in place, and say so by `touch`."""
        self._changed = anyio.Event()
        self.failure = ""
        """Why the last write failed, or empty."""

    def touch(self) -> None:
        """Have the content written soon."""
        self._changed.set()

    @property
    def is_settled(self) -> bool:
        """Return whether nothing waits to be written."""
        return not self._changed.is_set()

    def reread(self) -> None:
        """Take what another process has written."""
        self.data = _read(self.path)

    async def run(self) -> None:
        """Write whenever something changed; what is not written yet is when the task is cancelled."""
        try:
            while True:
                await self._changed.wait()
                await anyio.sleep(_SETTLE)
                await self._write()
        finally:
            if self._changed.is_set():
                with anyio.move_on_after(_WRITE_LIMIT, shield=True):
                    await self._write()

    async def _write(self) -> None:
        self._changed = anyio.Event()
        content = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False)
        self.failure = await anyio.to_thread.run_sync(_replace, self.path, content)


def _read(path: Path) -> Json:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("Json", found) if isinstance(found, dict) else {}


def _replace(path: Path, content: str) -> str:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(content)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        return f"{path}: {error.strerror or error}"
    return ""
