"""Instances that belong to one client or one session: they end with it, and nobody else gets its process."""

import json
from functools import partial

import anyio
import pytest

from orchestra_supervisor.gateway.backends import choice
from orchestra_supervisor.gateway.presence import present
from tests.e2e.gateway.clients import Client
from tests.e2e.gateway.conftest import (
    HERE,
    SDK,
    HttpServers,
    World,
    http,
    raw,
    settings,
    stdio,
    until,
    until_ready,
)

pytestmark = pytest.mark.anyio

RAW = str(HERE / "raw_http_server.py")


async def test_the_instance_of_a_session_ends_with_it(world: World) -> None:
    spec = stdio("s", sharing="per_session", size=3)
    async with world.gateway(settings(spec), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        one, other = (Client(catalog.aggregate(), session=name) for name in ("one", "other"))
        assert await one.text("s__pid") == str(world.keeper.pid("s"))
        assert await other.text("s__pid") == str(world.keeper.pid("s-2"))
        catalog.left(one.caller)
        await until(lambda: "stop s" in world.keeper.log)
        assert "stop s-2" not in world.keeper.log
        assert await other.text("s__pid") == str(world.keeper.pid("s-2"))


async def test_the_instance_of_a_connection_ends_with_it(world: World) -> None:
    spec = stdio("s", sharing="per_session", size=3)
    async with world.gateway(settings(spec), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        with present():
            await Client(catalog.aggregate(), session="line").text("s__pid")
            assert "stop s" not in world.keeper.log
        await until(lambda: "stop s" in world.keeper.log)


async def test_a_call_that_the_end_of_its_session_cancels_does_not_keep_the_instance(world: World) -> None:
    spec = stdio("s", sharing="per_session", size=3)
    async with world.gateway(settings(spec), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        client = Client(catalog.aggregate(), session="one")
        async with anyio.create_task_group() as group:
            group.start_soon(partial(client.call, "s__slow", seconds=30))
            await until(lambda: any(seat.instance.in_flight for seat in catalog.backend("s").seats))
            catalog.left(client.caller)
            group.cancel_scope.cancel()
        await until(lambda: "stop s" in world.keeper.log)


async def test_who_gets_an_instance_gets_a_process_that_nobody_used(world: World) -> None:
    spec = stdio("s", sharing="per_session", size=1)
    async with world.gateway(settings(spec), {"s": raw("good")}) as catalog:
        await until_ready(catalog, "s")
        one, other = (Client(catalog.aggregate(), session=name) for name in ("one", "other"))
        assert [await one.text("s__read") for _ in range(2)] == ["1", "2"]
        catalog.left(one.caller)
        assert await other.text("s__read") == "1"


async def test_so_does_who_gets_one_that_its_owner_left_unused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_LEASE", 0.0)
    spec = stdio("s", sharing="per_client", size=1)
    async with world.gateway(settings(spec), {"s": raw("good")}) as catalog:
        await until_ready(catalog, "s")
        assert await Client(catalog.aggregate(), principal="ada").text("s__read") == "1"
        assert await Client(catalog.aggregate(), principal="bob").text("s__read") == "1"


async def test_two_first_calls_of_a_session_at_once_are_given_one_instance(world: World) -> None:
    spec = stdio("s", sharing="per_session", size=3)
    async with world.gateway(settings(spec), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        await Client(catalog.aggregate(), session="first").text("s__pid")
        pids: list[str] = []

        async def call() -> None:
            pids.append(await Client(catalog.aggregate(), session="one").text("s__pid"))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(call)
        assert len(set(pids)) == 1
        assert world.scaled == [("s", 2)]


async def test_what_a_client_tells_reaches_its_own_instance_alone(world: World) -> None:
    spec = stdio("s", sharing="per_client", size=2)
    async with world.gateway(settings(spec), {"s": raw("good")}) as catalog:
        await until_ready(catalog, "s")
        ada, bob = (Client(catalog.aggregate(), principal=who) for who in ("ada", "bob"))
        for one in (ada, bob):
            await one.text("s__read")
        await catalog.aggregate().notified("notifications/roots/list_changed", {}, ada.caller)
        assert [json.loads(await one.text("s__state"))["roots"] for one in (ada, bob)] == [1, 0]


async def test_the_first_call_to_a_server_that_nobody_has_met_yet_has_a_session_of_its_own(
    world: World, servers: HttpServers
) -> None:
    port = servers.port(RAW, "plain")
    await servers.start(port)
    spec = settings(http("h", f"http://127.0.0.1:{port}/mcp", sharing="per_client"))
    async with world.gateway(spec) as catalog:
        await until_ready(catalog, "h")  # its tools are known from here on
    async with world.gateway(spec) as catalog:
        sessions = json.loads(await Client(catalog.aggregate(), principal="ada").text("h__sessions"))
        assert len(sessions) == 3, "one that lists in each life, and that of the client"
