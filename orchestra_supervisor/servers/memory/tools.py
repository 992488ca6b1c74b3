"""The memory server's MCP face: four tools, one resource, and `/health`."""

import time
from typing import Annotated

from anyio import to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.servers.database import DatabaseUnavailable
from orchestra_supervisor.servers.memory.store import Record, Store
from orchestra_supervisor.servers.rest import MAX_BODY
from orchestra_supervisor.servers.settings import Settings

__all__ = [
    "Forgotten",
    "Hit",
    "ListResult",
    "Memory",
    "Remembered",
    "SearchResult",
    "build_app",
    "build_server",
]

MAX_TEXT = 64 * 1024
"""Characters of one memory."""
_SHOWN = 2000  # characters of a memory in a list of several; its resource has all of it

_INSTRUCTIONS = """Keeps texts over sessions and restarts. Search before you remember: a memory with a `key`
is replaced when it is remembered again, so give lasting facts a key. Results show the beginning of
long texts; read memory://{id} for all of it."""

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, description="What to keep.")]
Key = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$", description="A name of its own.")
]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s,\x00]+$")]
Tags = Annotated[list[Tag], Field(max_length=20, description="Words to sort by; when looking, all must fit.")]
Limit = Annotated[int, Field(ge=1, le=100, description="How many at most.")]


class Memory(BaseModel):
    """A memory; a long text is shown by its beginning."""

    id: int
    key: str | None = None
    text: str
    truncated: bool = Field(default=False, description="The text goes on: read the resource memory://{id}.")
    tags: list[str]
    created_at: str
    updated_at: str


class Remembered(BaseModel):
    """What became of a text."""

    id: int
    key: str | None = None
    created: bool = Field(description="False: what stood under the key was replaced.")


class Hit(BaseModel):
    """A memory that a search found."""

    memory: Memory
    snippet: str = Field(description="Where the words stand, each in brackets.")
    score: float = Field(description="Higher is better; comparable within one search.")


class SearchResult(BaseModel):
    """What a search found, best first."""

    hits: list[Hit]
    matched: str = Field(description="`all`: the hits have all words; `any`: no memory has, these have some.")


class ListResult(BaseModel):
    """A page of memories, newest first."""

    memories: list[Memory]
    next_cursor: str | None = Field(default=None, description="Where the next page begins; none on the last.")


class Forgotten(BaseModel):
    """What became of a memory."""

    forgotten: bool = Field(description="False: there was none, nothing was done.")
    id: int | None = None
    key: str | None = None


def build_server(store: Store) -> MCPServer[None]:
    """Return the MCP server over a store."""
    server: MCPServer[None] = MCPServer(
        "memory",
        title="Memory",
        description="Remembers texts, and finds them by words and tags.",
        instructions=_INSTRUCTIONS,
        version=VERSION,
        log_level="WARNING",
    )
    _add_writing_tools(server, store)
    _add_reading_tools(server, store)

    @server.resource("memory://{number}", name="memory", mime_type="text/plain")
    def memory(number: str) -> str:  # pyright: ignore[reportUnusedFunction] - the server calls it
        """Return the whole text of a memory."""
        record = (
            store.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None
        )
        if record is None:
            raise ResourceNotFoundError(f"no memory {number}")
        return record.text

    return server


def _add_writing_tools(server: MCPServer[None], store: Store) -> None:
    @server.tool(
        title="Remember a text",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
        ),
    )
    def remember(text: Text, tags: Tags | None = None, key: Key | None = None) -> Remembered:  # pyright: ignore[reportUnusedFunction] - the server calls it
        """Keep a text. With a key that is taken, the text replaces what was kept under it."""
        if not text.strip():
            raise ToolError("the text is blank: there is nothing to remember")
        record, created = store.remember(text, tags or [], key)
        return Remembered(id=record.id, key=record.key, created=created)

    @server.tool(
        title="Forget a memory",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
        ),
    )
    def forget(  # pyright: ignore[reportUnusedFunction] - the server calls it
        id: Annotated[int | None, Field(ge=1, le=2**62)] = None,  # noqa: A002 - the field's name everywhere else
        key: Key | None = None,
    ) -> Forgotten:
        """Delete one memory for good, by its id or by its key."""
        if (id is None) == (key is None):
            raise ToolError(
                "give either the id or the key of the memory to forget (search and list show both)"
            )
        record = store.forget(id, key)
        if record is None:
            return Forgotten(forgotten=False, id=id, key=key)
        return Forgotten(forgotten=True, id=record.id, key=record.key)


def _add_reading_tools(server: MCPServer[None], store: Store) -> None:
    reads = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )

    @server.tool(title="Search memories", annotations=reads)
    def search(  # pyright: ignore[reportUnusedFunction] - the server calls it
        query: Annotated[str, Field(min_length=1, max_length=1000, description="Words; no query language.")],
        tags: Tags | None = None,
        limit: Limit = 10,
    ) -> SearchResult:
        """Find memories by their words, best first. The last word also matches as a beginning."""
        if not any(character.isalnum() for character in query):
            raise ToolError(f"the query {query!r} holds no word; use `list` to see memories without a search")
        found, has_all = store.search(query, tags or [], limit)
        hits = [Hit(memory=_memory(hit.record), snippet=hit.snippet, score=hit.score) for hit in found]
        return SearchResult(hits=hits, matched="all" if has_all else "any")

    @server.tool(name="list", title="List memories", annotations=reads)
    def list_memories(  # pyright: ignore[reportUnusedFunction] - the server calls it
        tags: Tags | None = None, limit: Limit = 20, cursor: str | None = None
    ) -> ListResult:
        """List memories, newest first, page by page."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise ToolError(f"the cursor {cursor[:40]!r} is none of ours; use next_cursor as it came")
        records, following = store.page(tags or [], limit, None if cursor is None else int(cursor))
        memories = [_memory(record) for record in records]
        return ListResult(memories=memories, next_cursor=None if following is None else str(following))


def build_app(store: Store, settings: Settings) -> Starlette:
    """Return the ASGI app: MCP at `/mcp`, and `/health`.

    Args:
        store: The memories, open.
        settings: The names that requests may be addressed to.
    """
    server = build_server(store)
    began = time.monotonic()

    @server.custom_route("/health", methods=["GET"])
    async def health(_: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - the server calls it
        about: dict[str, object] = {"service": "memory", "version": VERSION}
        about["uptime"] = round(time.monotonic() - began, 3)
        try:
            await to_thread.run_sync(store.database.check)
            count = await to_thread.run_sync(store.count)
        except DatabaseUnavailable as error:
            return JSONResponse({"status": "failing", "error": str(error), **about}, status_code=503)
        return JSONResponse({"status": "ok", "memories": count, "mcp": "/mcp", **about})

    names = ["127.0.0.1", "localhost", "[::1]", *settings.allowed_hosts]
    return server.streamable_http_app(
        # Every call stands alone, so nothing is kept between requests: a client goes on after a restart of
        # this server, where one with a session would be told that its session is unknown.
        stateless_http=True,
        json_response=True,
        max_request_body_size=MAX_BODY,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[pattern for name in names for pattern in (name, f"{name}:*")],
            allowed_origins=[
                f"{scheme}://{name}{port}"
                for scheme in ("http", "https")
                for name in names
                for port in ("", ":*")
            ],
        ),
    )


def _memory(record: Record) -> Memory:
    return Memory(
        id=record.id,
        key=record.key,
        text=record.text[:_SHOWN],
        truncated=len(record.text) > _SHOWN,
        tags=record.tags,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
