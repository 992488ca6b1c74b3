"""The memory server as MCP clients of both protocol eras see it."""

import contextlib
import json
import signal
import socket
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.e2e.servers.server_process import Server

ERAS = ("legacy", "2026-07-28")
Start = Callable[..., Server]
Body = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def memory(start: Start) -> Server:
    return start("memory")


def connected(server: Server, body: Body, mode: str = "legacy") -> None:
    async def main() -> None:
        with anyio.fail_after(20):
            async with Client(f"{server.url}/mcp", mode=mode) as client:
                await body(client)

    anyio.run(main)


async def call(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: object) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content)


@pytest.mark.parametrize("mode", ERAS)
def test_a_text_is_remembered_found_listed_and_forgotten(memory: Server, mode: str) -> None:
    async def body(client: Client) -> None:
        tag = f"era-{mode}"
        kept = await call(client, "remember", text="The café opens at nine", tags=[tag, "place"])
        assert kept == {"id": kept["id"], "key": None, "created": True}
        found = await call(client, "search", query="CAFE ope", tags=[tag])
        assert found["matched"] == "all"
        assert [hit["memory"]["id"] for hit in found["hits"]] == [kept["id"]]
        assert found["hits"][0]["snippet"] == "The [café] [opens] at nine"
        listed = await call(client, "list", tags=[tag])
        assert [memory["text"] for memory in listed["memories"]] == ["The café opens at nine"]
        assert (await call(client, "forget", id=kept["id"]))["forgotten"] is True
        assert (await call(client, "forget", id=kept["id"]))["forgotten"] is False
        assert (await call(client, "search", query="cafe", tags=[tag]))["hits"] == []

    connected(memory, body, mode)


@pytest.mark.parametrize("mode", ERAS)
def test_the_tools_say_what_they_do_and_return(memory: Server, mode: str) -> None:
    async def body(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"remember", "search", "list", "forget"}
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert all(hint is not None and hint.open_world_hint is False for hint in hints.values())
        reading = {name for name, hint in hints.items() if hint and hint.read_only_hint}
        assert reading == {"search", "list"}
        assert hints["forget"]
        assert hints["forget"].destructive_hint
        assert hints["forget"].idempotent_hint
        for tool in tools.values():
            assert tool.description
            assert tool.output_schema
            assert tool.output_schema["properties"]

    connected(memory, body, mode)


def test_a_key_holds_one_text_and_a_later_one_replaces_it(memory: Server) -> None:
    async def body(client: Client) -> None:
        first = await call(client, "remember", text="old zebra", key="animal")
        second = await call(client, "remember", text="new yak", key="animal")
        assert second == {"id": first["id"], "key": "animal", "created": False}
        assert (await call(client, "search", query="zebra"))["hits"] == []
        assert len((await call(client, "search", query="yak"))["hits"]) == 1
        assert (await call(client, "forget", key="animal"))["id"] == first["id"]

    connected(memory, body)


def test_words_that_no_memory_has_all_of_find_those_that_have_some(memory: Server) -> None:
    async def body(client: Client) -> None:
        await call(client, "remember", text="quartz and feldspar", tags=["rock"])
        found = await call(client, "search", query="feldspar granite", tags=["rock"])
        assert (found["matched"], len(found["hits"])) == ("any", 1)

    connected(memory, body)


@pytest.mark.parametrize("mode", ERAS)
def test_query_language_is_taken_as_plain_words(memory: Server, mode: str) -> None:
    hostile = [
        '"',
        "'; DROP TABLE memories; --",
        'x" OR text : *',
        "NEAR(a b, 5)",
        "key:animal AND NOT text",
        "^start",
        "a* OR b*",
        "(((",
        "-word +other {col}: x",
        "AND OR NOT",
        "memory_words",
        "_ ___",
        "\u0000 a",
        "ﷺ ١٢ 東京 🦓",
    ]

    async def body(client: Client) -> None:
        await call(client, "remember", text="witness of injections", key="witness")
        for query in hostile:
            result = await client.call_tool("search", {"query": query})
            text = str(result.content)
            assert "syntax" not in text
            assert not result.is_error or "holds no word" in text, (query, text)
        assert len((await call(client, "search", query="witness"))["hits"]) == 1

    connected(memory, body, mode)


def test_mistakes_are_answered_with_the_way_out(memory: Server) -> None:
    async def body(client: Client) -> None:
        assert "list" in await refusal(client, "search", query="?!")
        assert "either the id or the key" in await refusal(client, "forget")
        assert "either the id or the key" in await refusal(client, "forget", id=1, key="a")
        assert "next_cursor" in await refusal(client, "list", cursor="zz")
        assert "blank" in await refusal(client, "remember", text=" \n")
        for arguments in (
            {"text": "x" * (64 * 1024 + 1)},
            {"text": "x", "tags": ["two words"]},
            {"text": "x", "tags": [str(n) for n in range(21)]},
            {"text": "x", "key": ""},
        ):
            assert await refusal(client, "remember", **arguments)

    connected(memory, body)


@pytest.mark.parametrize("mode", ERAS)
def test_a_long_text_is_shown_in_part_and_read_whole_as_a_resource(memory: Server, mode: str) -> None:
    async def body(client: Client) -> None:
        text = f"platypus {mode} " + "ä" * 60_000
        kept = await call(client, "remember", text=text)
        hit = (await call(client, "search", query=f"platypus {mode}"))["hits"][0]["memory"]
        assert hit["truncated"] is True
        assert len(hit["text"]) == 2000
        contents = (await client.read_resource(f"memory://{kept['id']}")).contents
        assert [getattr(content, "text", None) for content in contents] == [text]
        for missing in ("memory://999999", "memory://x"):
            with pytest.raises(MCPError):
                await client.read_resource(missing)

    connected(memory, body, mode)


def test_pages_of_the_list_hold_every_memory_once(memory: Server) -> None:
    async def body(client: Client) -> None:
        for number in range(7):
            await call(client, "remember", text=f"page {number}", tags=["paged"])
        texts: list[str] = []
        cursor = None
        while True:
            page = await call(client, "list", tags=["paged"], limit=3, cursor=cursor)
            texts += [memory["text"] for memory in page["memories"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert texts == [f"page {number}" for number in reversed(range(7))]

    connected(memory, body)


def test_writers_at_once_to_one_key_make_one_memory(memory: Server) -> None:
    async def body(client: Client) -> None:
        results: list[dict[str, Any]] = []

        async def write(number: int) -> None:
            results.append(await call(client, "remember", text=f"text {number}", key="shared", tags=["race"]))

        async with anyio.create_task_group() as tasks:
            for number in range(16):
                tasks.start_soon(write, number)
        assert len({result["id"] for result in results}) == 1
        assert [result["created"] for result in results].count(True) == 1
        assert len((await call(client, "list", tags=["race"]))["memories"]) == 1

    connected(memory, body)


def test_a_request_to_mcp_with_a_foreign_host_or_page_changes_nothing(memory: Server) -> None:
    call_body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "remember", "arguments": {"text": "intruder", "key": "intruder"}},
    }
    accept = {"Accept": "application/json, text/event-stream"}
    assert memory.request("POST", "/mcp", call_body, Host="evil.example", **accept).status == 421
    assert memory.request("POST", "/mcp", call_body, Origin="http://evil.example", **accept).status == 403
    address = urlsplit(memory.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {1024 * 1024 + 1}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    async def body(client: Client) -> None:
        assert (await call(client, "search", query="intruder"))["hits"] == []

    connected(memory, body)


def test_memories_that_were_acknowledged_survive_sigkill(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    first = Server("memory", tmp_path, "--port", port)
    first.wait_ready()
    kept: list[int] = []

    async def write(client: Client, writer: int) -> None:
        with contextlib.suppress(MCPError):  # what a call says when its server is killed
            for number in range(1000):
                result = await call(client, "remember", text=f"w {writer} {number}", tags=["k"])
                kept.append(result["id"])
                if len(kept) >= 30:
                    first.process.send_signal(signal.SIGKILL)

    async def main() -> None:
        with anyio.fail_after(20):
            async with (
                Client(f"{first.url}/mcp", mode="legacy") as client,
                anyio.create_task_group() as tasks,
            ):
                for writer in range(3):
                    tasks.start_soon(write, client, writer)

    with contextlib.suppress(BaseExceptionGroup):  # leaving a client of a dead server is that client's matter
        anyio.run(main)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = Server("memory", tmp_path, "--port", port)
    try:
        second.wait_ready()

        async def body(client: Client) -> None:
            found: set[int] = set()
            cursor = None
            while True:
                page = await call(client, "list", tags=["k"], limit=100, cursor=cursor)
                found |= {memory["id"] for memory in page["memories"]}
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert len(kept) >= 30
            assert set(kept) <= found
            assert len((await call(client, "search", query="w", limit=100))["hits"]) == min(100, len(found))

        connected(second, body)
    finally:
        second.end()
    path = tmp_path / "home" / "data" / "memory" / "memory.sqlite3"
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.execute("INSERT INTO memory_words (memory_words) VALUES ('integrity-check')")
    database.close()


def test_a_client_goes_on_after_the_server_was_restarted(tmp_path: Path) -> None:
    first = Server("memory", tmp_path)
    first.wait_ready()
    port = first.url.rpartition(":")[2]
    servers = [first]

    async def body(client: Client) -> None:
        await call(client, "remember", text="before", key="a")
        assert await anyio.to_thread.run_sync(first.end) == 0
        servers.append(Server("memory", tmp_path, "--port", port))
        await anyio.to_thread.run_sync(servers[1].wait_ready)
        assert len((await call(client, "search", query="before"))["hits"]) == 1

    try:
        connected(first, body)  # the era that has sessions
    finally:
        for server in servers:
            server.end()


def test_health_is_plain_json_and_proves_the_database(memory: Server) -> None:
    health = memory.wait_ready()
    assert health["mcp"] == "/mcp"
    assert isinstance(health["memories"], int)
    assert json.dumps(health)
