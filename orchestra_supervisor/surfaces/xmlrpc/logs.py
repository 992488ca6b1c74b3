"""Logs as supervisord's clients read them: by byte offsets, a stream at a time, within bounds.

Offsets count the bytes of one stream in the log that is being written. All reading is done in worker
threads, a few at a time, and where a stream's bytes stand is remembered from one reading to the next.
"""

import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from anyio import to_thread

from orchestra_supervisor.logfile.index import INDEX_SUFFIX
from orchestra_supervisor.logfile.streams import TRUNCATED, StreamFollower, StreamView
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault
from orchestra_supervisor.surfaces.xmlrpc.log_source import LogSource

__all__ = ["READ_LIMIT", "Logs", "cut_short", "empty_log", "read_part", "tail_part"]

READ_LIMIT = 16 * 1024 * 1024
"""Bytes that one call may be answered with."""
_HEAD = 1024  # bytes before the end that a tail begins with; Source: supervisor 4.3, `http.py`
_CHUNK = 64 * 1024
_POLL = 0.25  # seconds between two looks at a log that is tailed
_VIEWS = 64  # logs that are held open for the next reading
_READERS = 4

T = TypeVar("T")
U = TypeVar("U")


class _Bytes(Protocol):
    """Bytes by offset."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, size: int) -> bytes: ...


def read_part(source: _Bytes, offset: int, length: int) -> bytes:
    """Return a part of a log as `readLog` counts: from an offset on, or the last bytes for a negative one.

    Args:
        source: The log.
        offset: First byte; negative: so many from the end, and the length must be 0.
        length: How many; 0: all.

    Raises:
        RpcFault: BAD_ARGUMENTS; FAILED for more than `READ_LIMIT`.
    """
    if offset < 0:
        if length:
            raise RpcFault(Fault.BAD_ARGUMENTS)
        start = max(0, source.size + offset)
        wanted = min(-offset, source.size - start)
    else:
        if length < 0:
            raise RpcFault(Fault.BAD_ARGUMENTS)
        start = offset
        wanted = max(0, source.size - offset)
        wanted = min(wanted, length) if length else wanted
    if wanted > READ_LIMIT:
        raise RpcFault(Fault.FAILED, f"{wanted} bytes are more than {READ_LIMIT}: read them in parts")
    return source.read(start, wanted)


def tail_part(source: _Bytes, offset: int, length: int) -> tuple[bytes, int, bool]:
    """Return the end of a log as `tailProcessLog` counts: bytes, the offset after them, were some left out.

    Raises:
        RpcFault: FAILED for more than `READ_LIMIT`.
    """
    size = source.size
    is_over = size > offset + length
    if is_over:
        offset = size - 1
    if offset + length > size:
        if offset > size - 1:
            length = 0
        offset = size - length
    offset, length = max(0, offset), max(0, length)
    if min(length, size - offset) > READ_LIMIT:
        raise RpcFault(Fault.FAILED, f"more than {READ_LIMIT} bytes: read them in parts")
    return source.read(offset, length) if length else b"", size, is_over


class _Nothing:
    """An empty file."""

    size = 0

    def read(self, offset: int, size: int) -> bytes:
        del offset, size
        return b""


class _File:
    """A plain file, open for reading."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._fd)
        self.identity = (status.st_dev, status.st_ino)
        self.size = status.st_size

    def refresh(self) -> int:
        self.size = os.fstat(self._fd).st_size
        return self.size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def close(self) -> None:
        os.close(self._fd)


class Logs:
    """Reads the logs of services and the main log."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(_READERS)
        self._views: OrderedDict[tuple[str, str], StreamView] = OrderedDict()

    def close(self) -> None:
        """Let go of what is held open."""
        while self._views:
            self._views.popitem()[1].close()

    async def of(self, source: LogSource, look: Callable[[_Bytes], T]) -> T | None:
        """Look at a log; None: there is none.

        Raises:
            OSError: It cannot be read.
        """
        if source.stream:
            return await self._of_stream(source.path, source.stream, look)

        def work() -> T | None:
            try:
                with closing(_File(source.path)) as file:
                    return look(file)
            except FileNotFoundError:
                return look(_Nothing()) if source.exists else None

        return await to_thread.run_sync(work, limiter=self._limiter)

    async def _of_stream(self, path: str, stream: str, look: Callable[[_Bytes], T]) -> T | None:
        key = (path, stream)
        kept = self._views.pop(key, None)  # nobody else has it while it is in use

        def work() -> tuple[StreamView, T | None]:
            view = kept or StreamView(path, stream)
            try:
                if kept is not None:
                    view.refresh()
                return view, look(view) if view.exists else None
            except BaseException:
                view.close()
                raise

        view, result = await self._whole(work)
        former = self._views.pop(key, None)
        if former is not None:
            former.close()
        self._views[key] = view
        if len(self._views) > _VIEWS:
            self._views.popitem(last=False)[1].close()
        return result

    async def _whole(self, work: Callable[[], U]) -> U:
        """Work in a thread; a cancelled caller gets the result all the same, for it has files to close."""
        results: list[U] = []
        with anyio.CancelScope(shield=True):
            results.append(await to_thread.run_sync(work, limiter=self._limiter))
        return results[0]

    async def tail(self, source: LogSource) -> AsyncGenerator[bytes]:
        """Yield a log from near its end on, for ever."""
        make = partial(StreamFollower, source.path, source.stream, _HEAD)
        follower = await self._whole(make if source.stream else partial(_FileFollower, source.path))
        try:
            while True:
                data = await to_thread.run_sync(follower.poll, limiter=self._limiter)
                if data:
                    yield data
                else:
                    await anyio.sleep(_POLL)
        finally:
            follower.close()


class _FileFollower:
    """Hands out a plain file from near its end on, and what takes its place from the begin."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: _File | None = None
        self._position = 0
        self._enter()
        if self._file is not None:
            self._position = max(0, self._file.size - _HEAD)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def poll(self) -> bytes:
        if self._file is None or self._has_moved(self._file):
            self._enter()
        if self._file is None:
            return b""
        size = self._file.refresh()
        if size < self._position:
            self._position = 0
            return TRUNCATED
        data = self._file.read(self._position, _CHUNK)
        self._position += len(data)
        return data

    def _has_moved(self, file: _File) -> bool:
        try:
            status = os.stat(self._path)  # noqa: PTH116  # beside fstat
        except OSError:
            return False  # gone, and perhaps still written
        return (status.st_dev, status.st_ino) != file.identity

    def _enter(self) -> None:
        self.close()
        self._position = 0
        with suppress(FileNotFoundError):
            self._file = _File(self._path)


def empty_log(path: Path) -> None:
    """Put an empty log in the place of a log, without a moment in which there is none.

    The index goes first: an empty log with the old one would look damaged. Whoever writes notices that the
    file is another one.

    Raises:
        OSError: It cannot be done.
    """
    if not path.exists():
        return
    fresh = path.with_name(f".{path.name}.cleared")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    path.with_name(path.name + INDEX_SUFFIX).unlink(missing_ok=True)
    fresh.replace(path)


def cut_short(path: Path) -> bool:
    """Empty a file to which others append; return whether it was there.

    Raises:
        OSError: It cannot be done.
    """
    try:
        with path.open("r+b") as file:
            file.truncate()
    except FileNotFoundError:
        return False
    return True
