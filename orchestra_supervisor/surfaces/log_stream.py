"""Logs over the API: read from the files, as everyone reads them, in a worker thread."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from orchestra_supervisor.logfile.follower import Follower, tail_and_follow
from orchestra_supervisor.logfile.lines import LogLine
from orchestra_supervisor.logfile.reader import read_lines
from orchestra_supervisor.logfile.search import Hit, Query, newest, search
from orchestra_supervisor.model.errors import InvalidRequest
from orchestra_supervisor.surfaces.log_pattern import LogPattern
from orchestra_supervisor.surfaces.sse import SseResponse, format_sse
from orchestra_supervisor.surfaces.talk import say
from orchestra_supervisor.surfaces.web import Receive, Scope, Send

__all__ = ["SEARCH_LIMIT", "LogReader", "LogResponse"]

POLL_INTERVAL = 0.25
"""Seconds between two looks at a followed log: a file has no event of its own that a reader could wait for
without a watcher for each log."""
SEARCH_LIMIT = 30.0
"""Seconds that a search may take: a worker thread cannot be stopped from outside."""
_BUFFER = 4096
_READERS = 4
"""Worker threads that read logs at once; further requests wait."""


class LogReader:
    """Reads logs for requests, a few at a time."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(_READERS)

    async def tail(
        self, path: Path, *, limit: int, since_wall: float | None, pattern: LogPattern | None
    ) -> list[dict[str, object]]:
        """Return the newest lines in their JSON form."""
        read = partial(read_lines, str(path), limit=limit, since_wall=since_wall, pattern=pattern)
        lines = await to_thread.run_sync(read, limiter=self._limiter)
        return [_to_dict(line) for line in lines]

    async def search(self, path: Path, query: Query, *, limit: int) -> dict[str, object]:
        """Return the newest matches and the lines around them, and how many matches there are.

        `complete` is false when `SEARCH_LIMIT` has passed before the end: the newest are missing then.
        """
        return await to_thread.run_sync(partial(_search, str(path), query, limit), limiter=self._limiter)

    def follow(self, path: Path, *, limit: int, pattern: LogPattern | None) -> "LogResponse":
        """Return the response that streams a log from its last `limit` lines on."""
        return LogResponse(path, limit, pattern, self._limiter)


class LogResponse(SseResponse[LogLine]):
    """An SSE answer that follows a log for as long as its client stays."""

    def __init__(
        self, path: Path, limit: int, pattern: LogPattern | None, limiter: anyio.CapacityLimiter
    ) -> None:
        self._send_lines, receive = _line_stream()
        super().__init__(receive, _encode)
        self._open = partial(tail_and_follow, str(path), limit, pattern=pattern)
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as ASGI wants it, while the log is followed beside it."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._pump)
            await super().__call__(scope, receive, send)
            group.cancel_scope.cancel()

    async def _pump(self) -> None:
        with self._send_lines:
            try:
                lines, follower = await to_thread.run_sync(self._open, limiter=self._limiter)
                try:
                    await self._hand_on(lines)
                    await self._poll(follower)
                finally:
                    follower.close()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # the client has left
            except InvalidRequest as error:  # its expression comes to no end; the answer has begun already
                say(error.message)

    async def _poll(self, follower: Follower) -> None:
        while True:
            lines = await to_thread.run_sync(follower.poll, limiter=self._limiter)
            await self._hand_on(lines)
            if not lines:
                await anyio.sleep(POLL_INTERVAL)

    async def _hand_on(self, lines: list[LogLine]) -> None:
        for line in lines:
            await self._send_lines.send(line)


def _line_stream() -> tuple[MemoryObjectSendStream[LogLine], MemoryObjectReceiveStream[LogLine]]:
    return anyio.create_memory_object_stream[LogLine](_BUFFER)


def _search(path: str, query: Query, limit: int) -> dict[str, object]:
    deadline = time.monotonic() + SEARCH_LIMIT
    count = 0

    def counted() -> Iterator[Hit]:
        nonlocal count
        for hit in search(path, query, go_on=lambda: time.monotonic() < deadline):
            count = hit.number
            yield hit

    hits = list(newest(counted(), limit))
    lines = [_to_dict(hit.line) | {"match": hit.is_match, "first": hit.is_first} for hit in hits]
    return {"lines": lines, "count": count, "complete": time.monotonic() < deadline}


def _encode(line: LogLine) -> bytes:
    return format_sse(json.dumps(_to_dict(line), separators=(",", ":")), event="log")


def _to_dict(line: LogLine) -> dict[str, object]:
    return {
        "at": line.at_wall,
        "stream": line.stream,
        "run": line.run,
        "text": line.data.decode("utf-8", "backslashreplace"),
    }
