"""HTTP servers behind the gateway: real processes, both eras, and what goes wrong with them."""

import json
from typing import cast

import anyio
import pytest

from orchestra_supervisor.gateway.endpoint import Era
from orchestra_supervisor.gateway.messages import CONNECTION_CLOSED, Json, RpcError
from tests.e2e.gateway.clients import Client
from tests.e2e.gateway.conftest import HERE, HttpServers, World, http, settings, state, until, until_ready

pytestmark = pytest.mark.anyio

SDK = str(HERE / "sdk_server.py")
RAW = str(HERE / "raw_http_server.py")
BLUE: Json = {"action": "accept", "content": {"colour": "blue"}}


def url(port: int, path: str = "/mcp") -> str:
    return f"http://127.0.0.1:{port}{path}"


@pytest.mark.parametrize("era", list(Era))
async def test_a_server_of_the_sdk_is_called_in_the_clients_own_era(
    world: World, servers: HttpServers, era: Era
) -> None:
    port = servers.port(SDK)
    await servers.start(port)
    async with world.gateway(settings(http("s", url(port)))) as catalog:
        await until_ready(catalog, "s")
        client = Client(
            catalog.aggregate(), era, capabilities={"elicitation": {}}, answers={"elicitation/create": BLUE}
        )
        assert "s__echo" in await client.names()
        assert await client.text("s__echo", text="hällo") == "hällo"
        await client.call("s__count", {"progressToken": "p"}, to=2)
        assert client.told == [
            (
                "notifications/progress",
                {"progressToken": "p", "progress": n, "total": 2, "message": f"at {n}"},
            )
            for n in (1, 2)
        ]
        if era is Era.HANDSHAKE:
            assert await client.text("s__paint") == "painted blue"
        else:
            first = await client.call("s__paint")
            (key,) = cast("Json", first["inputRequests"])
            params: Json = {"name": "s__paint", "arguments": {}, "requestState": first["requestState"]}
            again = await client.request("tools/call", {**params, "inputResponses": {key: BLUE}})
            assert "painted blue" in json.dumps(again)
        read = await client.request("resources/read", {"uri": "note://first"})
        assert cast("list[Json]", read["contents"])[0]["text"] == "one"
        instances = cast("list[Json]", state(catalog, "s")["instances"])
        assert len(instances) == (2 if era is Era.HANDSHAKE else 1)
        assert state(catalog, "s")["era"] == "stateless"


async def test_a_server_that_is_configured_by_host_and_port_is_found_at_the_usual_path(
    world: World, servers: HttpServers
) -> None:
    port = servers.port(RAW, "plain")
    await servers.start(port)
    async with world.gateway(settings(http("h", url(port, "")))) as catalog:
        await until_ready(catalog, "h")
        assert state(catalog, "h")["era"] == "handshake"
        assert await Client(catalog.aggregate()).text("h__sessions") == '["{}"]'


async def test_clients_that_can_be_asked_have_a_session_that_says_so(
    world: World, servers: HttpServers
) -> None:
    port = servers.port(RAW, "plain")
    await servers.start(port)
    async with world.gateway(settings(http("h", url(port)))) as catalog:
        await until_ready(catalog, "h")
        answers = {"elicitation/create": BLUE}
        asked = Client(catalog.aggregate(), Era.HANDSHAKE, capabilities={"elicitation": {}}, answers=answers)
        assert json.loads(await asked.text("h__ask")) == BLUE
        stateless = Client(catalog.aggregate(), capabilities={"elicitation": {}})
        first = await stateless.call("h__ask")
        assert first["resultType"] == "input_required"
        params: Json = {"name": "h__ask", "arguments": {}, "requestState": first["requestState"]}
        again = await stateless.request("tools/call", {**params, "inputResponses": {"1": BLUE}})
        assert "blue" in json.dumps(again)
        mute = Client(catalog.aggregate(), Era.HANDSHAKE)
        assert json.loads(await mute.text("h__sessions")) == ["{}", '{"elicitation": {}}']


async def test_a_session_that_the_server_forgot_is_opened_again_and_the_call_is_made(
    world: World, servers: HttpServers
) -> None:
    port = servers.port(RAW, "plain")
    await servers.start(port)
    async with world.gateway(settings(http("h", url(port)))) as catalog:
        await until_ready(catalog, "h")
        client = Client(catalog.aggregate())
        await client.call("h__forget")
        assert await client.text("h__sessions") == '["{}", "{}"]'


async def test_a_web_page_is_named_so_and_disturbs_nobody(world: World, servers: HttpServers) -> None:
    page, plain = servers.port(RAW, "html"), servers.port(RAW, "plain")
    await servers.start(page)
    await servers.start(plain)
    async with world.gateway(settings(http("w", url(page)), http("h", url(plain)))) as catalog:
        await until_ready(catalog, "h")
        await until(lambda: state(catalog, "w")["state"] == "down")
        row = state(catalog, "w")
        assert row["why"] == "answers HTTP 200 with a web page, and is not an MCP server"
        assert row["hint"] == "check its address: MCP is often at /mcp"
        assert cast("Json", row["levels"]) == {"L0": True, "L1": False, "L2": None, "L3": None}
        assert await Client(catalog.aggregate()).names() == [
            f"h__{name}" for name in ("ask", "broken", "cut", "forget", "sessions")
        ]
        with anyio.fail_after(5), pytest.raises(RpcError, match="is not an MCP server") as caught:
            await Client(catalog.single("w")).request("tools/list")
        assert caught.value.data == {"server": "w", "retryable": False, "trouble": "not_mcp"}


async def test_a_server_that_wants_other_credentials_is_no_server_that_is_down(
    world: World, servers: HttpServers
) -> None:
    port = servers.port(RAW, "auth")
    await servers.start(port)
    async with world.gateway(settings(http("wrong", url(port)), http("right", url(port)))) as catalog:
        await until_ready(catalog, "right")
        await until(lambda: state(catalog, "wrong")["state"] == "auth_required")
        assert state(catalog, "wrong")["why"] == "answers HTTP 401: it wants other credentials"
        assert await Client(catalog.aggregate()).text("right__sessions") == '["{}"]'


async def test_faults_of_one_call_are_told_and_the_next_call_works(
    world: World, servers: HttpServers
) -> None:
    port = servers.port(RAW, "plain")
    await servers.start(port)
    async with world.gateway(settings(http("h", url(port)))) as catalog:
        await until_ready(catalog, "h")
        client = Client(catalog.aggregate())
        with pytest.raises(RpcError, match="h answers HTTP 500"):
            await client.call("h__broken")
        with pytest.raises(RpcError, match="h went away while it was asked") as caught:
            await client.call("h__cut")
        assert caught.value.code == CONNECTION_CLOSED
        assert (await client.text("h__sessions")).startswith("[")


async def test_a_server_that_is_killed_and_comes_back_is_called_again(
    world: World, servers: HttpServers
) -> None:
    port = servers.port(RAW, "plain")
    await servers.start(port)
    async with world.gateway(settings(http("h", url(port)))) as catalog:
        await until_ready(catalog, "h")
        client = Client(catalog.aggregate())
        for _ in range(5):
            servers.kill(port)
            async with anyio.create_task_group() as group:
                group.start_soon(servers.start, port)
                with anyio.fail_after(8):
                    assert await client.text("h__sessions") == '["{}"]'
            assert "h__sessions" in await client.names()


async def test_a_lazy_service_runs_only_while_it_is_called(world: World, servers: HttpServers) -> None:
    port = servers.port(RAW, "plain")
    world.http["h"] = (servers, port)
    spec = http("h", url(port), service="h", lazy=True, idle_stop=0.5)
    async with world.gateway(settings(spec)) as catalog:
        await until(lambda: world.keeper.log == ["start h", "stop h"])  # once, to learn its tools
        await until(lambda: state(catalog, "h")["state"] == "idle")
        answers = {"elicitation/create": BLUE}
        asked = Client(catalog.aggregate(), Era.HANDSHAKE, capabilities={"elicitation": {}}, answers=answers)
        assert "h__ask" in await asked.names()
        assert json.loads(await asked.text("h__ask")) == BLUE
        assert await Client(catalog.aggregate()).text("h__sessions") != ""
        await until(lambda: world.keeper.log[2:] == ["start h", "stop h"])
