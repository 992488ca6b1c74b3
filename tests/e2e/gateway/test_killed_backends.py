"""Servers killed again and again under calls: no call hangs, no tool vanishes, nothing is left over."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.gateway.messages import CONNECTION_CLOSED, RpcError
from tests.e2e.gateway.clients import Client
from tests.e2e.gateway.conftest import SDK, World, raw, settings, state, stdio, until
from tests.e2e.gateway.npm import npm_folder

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 20
DEADLINE = 20.0


async def kill_under_calls(
    world: World, command: Sequence[str], tool: str, arguments: dict[str, object]
) -> None:
    """Call without a pause from four tasks, while the server is killed twenty times."""
    async with world.gateway(settings(stdio("k", timeout=DEADLINE)), {"k": command}) as catalog:
        await until(lambda: state(catalog, "k")["state"] in {"ready", "degraded"}, within=100)
        client = Client(catalog.aggregate())
        names = await client.names()
        outcomes = {"answered": 0, "failed": 0, "odd": 0}
        pids: set[int] = set()
        is_over = anyio.Event()

        async def keep_calling() -> None:
            while not is_over.is_set():
                try:
                    with anyio.fail_after(DEADLINE + 1):
                        result = await client.call(tool, **arguments)
                except RpcError as error:
                    outcomes["odd"] += error.code != CONNECTION_CLOSED
                    outcomes["failed"] += 1
                    await anyio.sleep(0.01)
                else:
                    assert not result.get("isError"), result
                    outcomes["answered"] += 1

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(keep_calling)
            for _ in range(KILLS):
                before = outcomes["answered"]
                await until(lambda: outcomes["answered"] >= before + 8, within=60)  # noqa: B023 - at once
                pids.add(world.keeper.pid("k"))
                world.keeper.kill("k")
                assert await client.names() == names
            before = outcomes["answered"]
            await until(lambda: outcomes["answered"] >= before + 8, within=60)
            is_over.set()
        assert len(pids) == KILLS
        assert outcomes["failed"] > 0
        assert outcomes["odd"] == 0
        assert await client.names() == names


async def test_a_server_that_is_killed_twenty_times_under_calls(world: World) -> None:
    await kill_under_calls(world, raw("plain"), "k__read", {})


@pytest.mark.timeout(180)
async def test_a_server_of_the_sdk_that_is_killed_twenty_times_under_calls(world: World) -> None:
    await kill_under_calls(world, SDK, "k__echo", {"text": "x"})


TOOLS: dict[str, tuple[str, dict[str, object]]] = {
    "everything": ("echo", {"message": "hi"}),
    "memory": ("read_graph", {}),
    "filesystem": ("list_allowed_directories", {}),
}
VERSION = "2026.8.31"


@pytest.fixture(scope="session")
def packages() -> Path:
    """Install the servers once; skips where there is no npm, or no registry."""
    names = {f"@modelcontextprotocol/server-{name}": VERSION for name in TOOLS}
    return npm_folder("servers", names) / "node_modules" / ".bin"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TOOLS)
async def test_servers_from_npm_are_killed_twenty_times_under_calls(
    world: World, packages: Path, name: str
) -> None:
    tool, arguments = TOOLS[name]
    program = (packages / f"mcp-server-{name}").resolve()  # what node runs, without a process in between
    command = ["node", str(program), *([str(world.home)] if name == "filesystem" else [])]
    await kill_under_calls(world, command, f"k__{tool}", arguments)
