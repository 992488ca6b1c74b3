import json
from collections import deque

import anyio
import pytest
from anyio.abc import ByteStream

from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.front.identity import Identity
from orchestra_supervisor.gateway.front.lines import LineFront
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.messages import Json
from tests.e2e.gateway.fixture_endpoint import FixtureEndpoint

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Held(FixtureEndpoint):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = anyio.Event()
        self.told = anyio.Event()

    async def handle(self, method: str, params: Json, exchange: object) -> Json:
        self.asked.set()
        await self.told.wait()
        return {}


class OnePlace:
    def __init__(self, served: Served) -> None:
        self.served = served

    def find(self, path: str) -> Served | None:
        return self.served


class Client(ByteStream):
    """Says its lines, closes its side, and remembers what it was sent."""

    def __init__(self, *lines: object) -> None:
        self.lines = deque(json.dumps(line).encode() + b"\n" for line in lines)
        self.sent: list[Json] = []

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.lines:
            raise anyio.EndOfStream
        return self.lines.popleft()

    async def send(self, item: bytes) -> None:
        self.sent.append(json.loads(item))

    async def send_eof(self) -> None:
        raise AssertionError("nobody closes one side")

    async def aclose(self) -> None:
        pass


ENVELOPE: Json = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def test_an_answer_counts_as_written_only_once_it_was_handed_over() -> None:
    endpoint = Held()
    front = LineFront(OnePlace(Served("/mcp", endpoint)))
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}
    client = Client({"orchestra": 1, "endpoint": "control"}, request)
    told_too_early: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(front.talk, client, Identity("uid 0", Role.ADMIN))
        await endpoint.asked.wait()
        endpoint.told.set()
        for step in range(50):  # each step of the loop, as close as a timer can come to them
            if not front.running and front.is_written and not client.sent:
                told_too_early.append(step)
            await anyio.lowlevel.checkpoint()
    assert told_too_early == []
    assert [message["id"] for message in client.sent] == [1]
