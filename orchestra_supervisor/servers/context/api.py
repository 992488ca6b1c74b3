"""The context server's routes: summary, files, one file, changes, the stream."""

import codecs
import json
import os
import stat
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from anyio import EndOfStream, create_task_group, move_on_after, to_thread
from pathspec import GitIgnoreSpec
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.servers.context.feed import Feed, Follower, Item
from orchestra_supervisor.servers.context.git import GitState, git_state
from orchestra_supervisor.servers.context.index import Entry
from orchestra_supervisor.servers.context.tracker import Tracker
from orchestra_supervisor.servers.rest import (
    ApiError,
    decode_cursor,
    encode_cursor,
    error_handlers,
    read_query,
)

__all__ = ["KEEP_ALIVE", "MAX_TEXT", "build_app"]

MAX_TEXT = 256 * 1024
"""Bytes of a file in one answer."""
KEEP_ALIVE = 15.0
"""Seconds of silence on a stream after which a comment is sent."""

_GIT_FRESH = 1.0  # seconds that an answer of git is good for
_SHOWN_CHANGES = 20  # newest changes in the summary


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _FilesQuery(_Query):
    q: Annotated[str, Field(max_length=500)] | None = None
    glob: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^!#]")] | None = None
    language: str | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, Field(max_length=10_000)] | None = None


class _FileQuery(_Query):
    path: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
    offset: Annotated[int, Field(ge=0, le=2**53)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_TEXT)] = MAX_TEXT


class _ChangesQuery(_Query):
    since: Annotated[str, Field(max_length=100)] | None = None


class _Answer(JSONResponse):
    """JSON in ASCII: a path that is not UTF-8 has no other form."""

    def render(self, content: object) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class _Api:
    """The handlers, over one tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._began = time.monotonic()
        self._git: GitState | None = None
        self._git_at = -_GIT_FRESH

    async def index(self, _: Request) -> Response:
        """List the routes."""
        routes = ["/health", "/context", "/files", "/file", "/changes", "/stream"]
        return _Answer({"service": "context", "version": VERSION, "routes": [f"GET {r}" for r in routes]})

    async def health(self, _: Request) -> Response:
        """Say whether the first scan is done and the tree is there."""
        tracker = self._tracker
        about: dict[str, object] = {
            "service": "context",
            "version": VERSION,
            "root": tracker.index.root,
        }
        about |= {"files": len(tracker.index), "uptime": round(time.monotonic() - self._began, 3)}
        if not tracker.is_root_there:
            return _Answer(
                {"status": "failing", "error": "the root directory is gone", **about}, status_code=503
            )
        if not tracker.is_ready:
            return _Answer({"status": "scanning", **about}, status_code=503)
        return _Answer({"status": "ready", "watching": tracker.problem or "all", **about})

    async def context(self, request: Request) -> Response:
        """Sum the tree up."""
        read_query(request, _Query)
        tracker = self._tracker
        entries = tracker.index.entries()
        languages = await to_thread.run_sync(_languages, entries)
        items, _ = tracker.feed.since(None)
        return _Answer(
            {
                "root": tracker.index.root,
                "status": "ready" if tracker.is_ready else "scanning",
                "files": len(entries),
                "bytes": sum(counts["bytes"] for counts in languages.values()),
                "truncated": tracker.index.truncated,
                "languages": languages,
                "git": await self._fresh_git(),
                "changes": [item.to_dict(tracker.feed.start) for item in reversed(items[-_SHOWN_CHANGES:])],
                "last": tracker.feed.last_id,
            }
        )

    async def files(self, request: Request) -> Response:
        """List files by path."""
        query = read_query(request, _FilesQuery)
        after = decode_cursor(query.cursor) if query.cursor else ""
        entries = self._tracker.index.entries()
        page, has_more = await to_thread.run_sync(_select, entries, query, after)
        items = [
            {"path": entry.path, "size": entry.size, "mtime": entry.mtime, "language": entry.language}
            for entry in page
        ]
        following = encode_cursor(page[-1].path) if has_more else None
        truncated = self._tracker.index.truncated
        return _Answer({"items": items, "next_cursor": following, "truncated": truncated})

    async def file(self, request: Request) -> Response:
        """Return a part of one file's text."""
        query = read_query(request, _FileQuery)
        return _Answer(await to_thread.run_sync(self._read, query))

    async def changes(self, request: Request) -> Response:
        """Return what changed after an id."""
        since = read_query(request, _ChangesQuery).since
        feed = self._tracker.feed
        items, has_gap = feed.since(since)
        changes = [item.to_dict(feed.start) for item in items]
        return _Answer({"changes": changes, "last": feed.last_id, "gap": has_gap})

    async def stream(self, request: Request) -> Response:
        """Send changes as they happen."""
        query = read_query(request, _ChangesQuery)
        feed = self._tracker.feed
        after = request.headers.get("last-event-id") or query.since or feed.last_id
        follower = (
            feed.follow()
        )  # nothing happens between this and the next line: nothing is missed or doubled
        missed, has_gap = feed.since(after)
        if follower is None:
            raise ApiError(503, "busy", "there are too many streams", "close one, or poll /changes")
        return _Stream(feed, follower, missed, has_gap=has_gap)

    def _read(self, query: _FileQuery) -> dict[str, object]:
        root = self._tracker.index.root
        real = os.path.realpath(f"{root}/{query.path}")
        entry = self._tracker.index.get(real[len(root) + 1 :]) if real.startswith(f"{root}/") else None
        missing = ApiError(404, "not_found", f"no file {query.path!r} in the index", "GET /files lists them")
        if entry is None:
            raise missing  # outside the tree, ignored, or not there: it is not said which
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise missing from error
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            # The path may have become another file since the index saw it.
            if not stat.S_ISREG(facts.st_mode) or os.path.realpath(real) != real:
                raise missing
            if b"\0" in file.read(8192):
                raise ApiError(415, "binary", f"{query.path!r} is not a text", "it has bytes of value 0")
            file.seek(query.offset)
            data = file.read(query.limit)
        is_last = query.offset + len(data) >= facts.st_size
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final=is_last)
        end = query.offset + len(data) - len(decoder.getstate()[0])
        about: dict[str, object] = {"path": entry.path, "size": facts.st_size, "mtime": facts.st_mtime}
        about |= {"language": entry.language, "offset": query.offset}
        return {**about, "text": text, "next_offset": None if is_last else end}

    async def _fresh_git(self) -> GitState | None:
        if time.monotonic() - self._git_at >= _GIT_FRESH:
            self._git = await git_state(self._tracker.index.root)
            self._git_at = time.monotonic()
        return self._git


class _Stream(StreamingResponse):
    """Server-sent events of one follower: what it missed, what comes, and why it ends."""

    def __init__(self, feed: Feed, follower: Follower, missed: list[Item], *, has_gap: bool) -> None:
        self._feed = feed
        self._follower = follower
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(
            self._events(missed, has_gap=has_gap), media_type="text/event-stream", headers=headers
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.leave(self._follower)

    async def _events(self, missed: list[Item], *, has_gap: bool) -> AsyncGenerator[str]:
        yield "retry: 1000\n: connected\n\n"
        if has_gap:
            yield self._event("gap", {"hint": "changes are missing here: read /files again"}, None)
        for item in missed:
            yield self._event_of(item)
        while True:
            text = ": keep-alive\n\n"
            with move_on_after(KEEP_ALIVE):
                try:
                    text = self._event_of(await self._follower.items.receive())
                except EndOfStream:
                    break
            yield text
        if self._follower.is_overflowed:
            yield self._event("overflow", {"hint": "too slow: connect again with Last-Event-ID"}, None)

    def _event_of(self, item: Item) -> str:
        data = item.to_dict(self._feed.start)
        return self._event(item.change.kind, data, f"{self._feed.start}-{item.number}")

    @staticmethod
    def _event(kind: str, data: dict[str, object], number: str | None) -> str:
        identity = f"id: {number}\n" if number else ""
        return f"{identity}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def build_app(tracker: Tracker) -> Starlette:
    """Return the ASGI app; the tracker runs while it does."""
    api = _Api(tracker)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with create_task_group() as tasks:
            tasks.start_soon(tracker.run)
            yield
            tasks.cancel_scope.cancel()

    routes = [
        Route("/", api.index),
        Route("/health", api.health),
        Route("/context", api.context),
        Route("/files", api.files),
        Route("/file", api.file),
        Route("/changes", api.changes),
        Route("/stream", api.stream),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=error_handlers())


def _languages(entries: tuple[Entry, ...]) -> dict[str, dict[str, int]]:
    languages: dict[str, dict[str, int]] = {}
    for entry in entries:
        counts = languages.setdefault(entry.language, {"files": 0, "bytes": 0})
        counts["files"] += 1
        counts["bytes"] += entry.size
    return dict(sorted(languages.items(), key=lambda item: -item[1]["files"]))


def _select(entries: tuple[Entry, ...], query: _FilesQuery, after: str) -> tuple[list[Entry], bool]:
    """Return a page of the entries that a query wants, and whether there are more."""
    text = query.q.casefold() if query.q else ""
    glob = GitIgnoreSpec.from_lines([query.glob]) if query.glob else None
    page: list[Entry] = []
    for entry in entries:
        if (
            entry.path <= after
            or (query.language is not None and entry.language != query.language)
            or (text and text not in entry.path.casefold())
            or (glob is not None and not glob.match_file(entry.path))
        ):
            continue
        if len(page) == query.limit:
            return page, True
        page.append(entry)
    return page, False
