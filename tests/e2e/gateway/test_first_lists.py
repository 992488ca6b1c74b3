"""The first list of all servers waits for those that are being met, and for nobody else."""

import sys

import anyio
import pytest

from tests.e2e.gateway.clients import Client
from tests.e2e.gateway.conftest import SDK, HttpServers, World, http, settings, state, stdio, until

pytestmark = pytest.mark.anyio


async def test_a_server_that_is_being_met_is_in_the_first_list(world: World) -> None:
    async with world.gateway(settings(stdio("s")), {"s": SDK}) as catalog:
        assert state(catalog, "s")["tools"] == 0
        assert "s__echo" in await Client(catalog.aggregate()).names()


async def test_a_tool_of_a_server_that_is_being_met_is_found_by_its_name(world: World) -> None:
    async with world.gateway(settings(stdio("s")), {"s": SDK}) as catalog:
        assert await Client(catalog.aggregate()).text("s__echo", text="x") == "x"


async def test_a_server_that_never_answers_holds_up_the_first_list_and_no_other(world: World) -> None:
    commands = {"s": SDK, "mute": [sys.executable, "-c", "import sys; sys.stdin.read()"]}
    async with world.gateway(settings(stdio("mute"), stdio("s")), commands) as catalog:
        client = Client(catalog.aggregate())
        with anyio.fail_after(10):
            assert "s__echo" in await client.names()
        began = anyio.current_time()
        assert "s__echo" in await client.names()
        assert anyio.current_time() - began < 1


async def test_a_server_that_refuses_connections_is_not_waited_for(
    world: World, servers: HttpServers
) -> None:
    port = servers.port("-c", "pass")  # nobody listens there
    async with world.gateway(settings(http("h", f"http://127.0.0.1:{port}/mcp"))) as catalog:
        await until(lambda: state(catalog, "h")["state"] == "down")
        with anyio.fail_after(2):
            assert await Client(catalog.aggregate()).names() == []
