"""Stdio servers behind the gateway: real processes, both eras, and what goes wrong with them."""

import json
from itertools import count
from typing import cast

import anyio
import pytest

from orchestra_supervisor.gateway.endpoint import Change, ChangeKind, Era
from orchestra_supervisor.gateway.messages import CANCELLED, CONNECTION_CLOSED, Json, RpcError
from tests.e2e.gateway.clients import Client
from tests.e2e.gateway.conftest import SDK, World, raw, settings, state, stdio, until, until_ready

pytestmark = pytest.mark.anyio

SDK_TOOLS = ["count", "echo", "fail", "grow", "paint", "pid", "slow", "touch"]


@pytest.mark.parametrize("era", list(Era))
async def test_a_server_of_the_sdk_is_listed_and_called_in_both_eras(world: World, era: Era) -> None:
    async with world.gateway(settings(stdio("s")), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        client = Client(catalog.aggregate(), era)
        assert await client.names() == [f"s__{name}" for name in SDK_TOOLS]
        assert await client.text("s__echo", text="hällo") == "hällo"
        assert await client.names("prompts/list", "prompts") == ["s__greet"]
        prompt = await client.request("prompts/get", {"name": "s__greet", "arguments": {"name": "Ada"}})
        assert "Say hello to Ada." in json.dumps(prompt)
        read = await client.request("resources/read", {"uri": "note://first"})
        assert cast("list[Json]", read["contents"])[0]["text"] == "one"
        templated = await client.request("resources/read", {"uri": "note://x/text"})
        assert cast("list[Json]", templated["contents"])[0]["text"] == "text of x"
        single = Client(catalog.single("s"), era)
        assert await single.names() == SDK_TOOLS
        assert await single.text("echo", text="x") == "x"
        greeting = await catalog.single("s").greet(client.caller)
        assert greeting.server_info["name"] == "sdk"
        assert greeting.instructions == "Says things."


async def test_progress_is_told_by_the_clients_own_token(world: World) -> None:
    async with world.gateway(settings(stdio("s")), {"s": SDK}) as catalog:
        client = Client(catalog.aggregate())
        await until_ready(catalog, "s")
        await client.call("s__count", {"progressToken": 77}, to=3)
        assert client.told == [
            ("notifications/progress", {"progressToken": 77, "progress": n, "total": 3, "message": f"at {n}"})
            for n in (1, 2, 3)
        ]


async def test_a_handshake_client_is_asked_what_a_stateless_server_wants_to_know(world: World) -> None:
    async with world.gateway(settings(stdio("s")), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        assert state(catalog, "s")["era"] == "stateless"
        answer: Json = {"action": "accept", "content": {"colour": "red"}}
        client = Client(
            catalog.aggregate(),
            Era.HANDSHAKE,
            capabilities={"elicitation": {}},
            answers={"elicitation/create": answer},
        )
        assert await client.text("s__paint") == "painted red"
        assert [method for method, _ in client.asked] == ["elicitation/create"]


async def test_a_stateless_client_gets_the_question_and_comes_again(world: World) -> None:
    async with world.gateway(settings(stdio("s"), stdio("r")), {"s": SDK, "r": raw("plain")}) as catalog:
        await until(
            lambda: state(catalog, "s")["state"] == "ready" and state(catalog, "r")["state"] == "ready"
        )
        client = Client(catalog.aggregate(), capabilities={"elicitation": {"form": {}}})
        content: Json = {"action": "accept", "content": {"colour": "blue"}}
        for tool in ("s__paint", "r__ask"):
            first = await client.call(tool)
            assert first["resultType"] == "input_required"
            (key,) = cast("Json", first["inputRequests"])
            params: Json = {"name": tool, "arguments": {}, "requestState": first["requestState"]}
            again = await client.request("tools/call", {**params, "inputResponses": {key: content}})
            assert "blue" in json.dumps(again)
        with pytest.raises(RpcError, match="does not wait for an answer any more"):
            await client.request("tools/call", {**params, "inputResponses": {key: content}})


async def test_a_client_that_cannot_be_asked_is_not_and_the_server_is_told(world: World) -> None:
    async with world.gateway(settings(stdio("r")), {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        assert "cannot be asked" in await Client(catalog.aggregate()).text("r__ask")
        assert "does not want to" in await Client(catalog.aggregate(), Era.HANDSHAKE).text("r__ask")


async def test_calls_in_flight_fail_at_once_when_the_server_dies_and_tools_stay(world: World) -> None:
    async with world.gateway(settings(stdio("r", timeout=30.0)), {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        client = Client(catalog.aggregate())
        names = await client.names()
        with anyio.fail_after(5), pytest.raises(RpcError) as caught:
            await client.call("r__die")
        assert caught.value.code == CONNECTION_CLOSED
        assert caught.value.data == {"server": "r", "retryable": True, "trouble": "lost"}
        assert await client.names() == names
        with anyio.fail_after(5):
            assert await client.text("r__read") == "1"  # a new process, waited for


async def test_a_call_past_its_deadline_ends_and_the_server_is_told(world: World) -> None:
    async with world.gateway(settings(stdio("r", timeout=0.3)), {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        client = Client(catalog.aggregate())
        with anyio.fail_after(5), pytest.raises(RpcError) as caught:
            await client.call("r__hang")
        assert caught.value.code == CANCELLED
        assert len(json.loads(await client.text("r__state"))["cancelled"]) == 1


async def test_a_cancelled_call_is_cancelled_at_the_server(world: World) -> None:
    async with world.gateway(settings(stdio("r")), {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        client = Client(catalog.aggregate())
        with anyio.move_on_after(0.2):
            await client.call("r__hang")
        assert len(json.loads(await client.text("r__state"))["cancelled"]) == 1


async def test_a_gateway_that_is_replaced_does_not_initialise_a_server_twice(world: World) -> None:
    answer = settings(stdio("r"))
    async with world.gateway(answer, {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        await until((world.home / "gateway" / "state.json").exists)
        pid = world.keeper.pid("r")
    async with world.gateway(answer) as catalog:
        client = Client(catalog.aggregate())
        assert json.loads(await client.text("r__state"))["initialized"] == 1
        assert world.keeper.pid("r") == pid


async def test_the_era_of_a_silent_server_is_found_once(world: World) -> None:
    answer = settings(stdio("r"))
    async with world.gateway(answer, {"r": raw("silent_to_discover")}) as catalog:
        began = anyio.current_time()
        await until_ready(catalog, "r")
        assert 2.5 < anyio.current_time() - began < 6.0
        began = anyio.current_time()
        world.keeper.kill("r")
        client = Client(catalog.aggregate())
        await until(lambda: state(catalog, "r")["state"] != "ready")
        assert await client.text("r__read") == "1"
        assert anyio.current_time() - began < 2.0


async def test_lines_that_are_no_messages_are_counted_and_dropped(world: World) -> None:
    async with world.gateway(
        settings(stdio("r"), stdio("f")), {"r": raw("banner"), "f": raw("flood")}
    ) as catalog:
        client = Client(catalog.aggregate())
        await until(
            lambda: state(catalog, "r")["state"] == "ready" and state(catalog, "f")["state"] == "ready"
        )
        for _ in range(20):
            assert (await client.text("r__read")).isdigit()
            assert (await client.text("f__read")).isdigit()
        instance = cast("list[Json]", state(catalog, "r")["instances"])[0]
        assert cast("Json", instance["noise"])["lines"] == 4


async def test_an_answer_with_a_wrong_id_ends_one_call_and_nothing_else(world: World) -> None:
    backends = settings(stdio("w", timeout=0.5), stdio("r"))
    async with world.gateway(backends, {"w": raw("wrong_id"), "r": raw("plain")}) as catalog:
        client = Client(catalog.aggregate())
        await until(
            lambda: state(catalog, "w")["state"] == "ready" and state(catalog, "r")["state"] == "ready"
        )
        with pytest.raises(RpcError, match=r"w did not answer within 0\.5 s"):
            await client.call("w__read")
        assert await client.text("r__read") == "1"
        instance = cast("list[Json]", state(catalog, "w")["instances"])[0]
        assert cast("Json", instance["noise"])["unknown_ids"] == 1


async def test_an_answer_that_is_too_large_is_refused_and_the_next_is_not(world: World) -> None:
    async with world.gateway(settings(stdio("r")), {"r": raw("plain")}) as catalog:
        client = Client(catalog.aggregate())
        await until_ready(catalog, "r")
        with pytest.raises(RpcError, match=r"the answer is too large: 62\d+ bytes"):
            await client.call("r__big", size=6_200_000)
        assert len(await client.text("r__big", size=5_000_000)) == 5_000_000


async def test_one_malformed_tool_is_left_out_and_named(world: World) -> None:
    async with world.gateway(settings(stdio("r")), {"r": raw("broken")}) as catalog:
        client = Client(catalog.aggregate())
        await until(lambda: state(catalog, "r")["tools"])
        names = await client.names()
        assert [f"r__good_{n}" for n in range(9)] == [name for name in names if "good" in name]
        assert "r__bad" not in names
        row = state(catalog, "r")
        assert row["state"] == "degraded"
        assert row["left_out"] == [{"kind": "tool", "name": "bad", "why": "its inputSchema is not an object"}]


@pytest.mark.slow
async def test_ten_thousand_tools_are_listed_in_pages_and_found_by_search(world: World) -> None:
    profiles: Json = {"find": {"search": True}}
    async with world.gateway(settings(stdio("m"), profiles=profiles), {"m": raw("many")}) as catalog:
        await until(lambda: state(catalog, "m")["tools"] == 10_000)
        assert await Client(catalog.aggregate()).names() == [f"m__tool_{n:05}" for n in range(10_000)]
        client = Client(catalog.aggregate("find"))
        assert await client.names() == ["tools_call", "tools_search"]
        found = cast("Json", (await client.call("tools_search", query="07777"))["structuredContent"])
        assert [tool["name"] for tool in cast("list[Json]", found["tools"])] == ["m__tool_07777"]
        assert await client.text("tools_call", name="m__tool_07777", arguments={}) == "1"


async def test_a_server_that_exits_at_once_is_a_crash_loop_and_says_so(world: World) -> None:
    async with world.gateway(
        settings(stdio("x"), stdio("r")), {"x": raw("exits"), "r": raw("plain")}
    ) as catalog:
        await until(lambda: state(catalog, "x")["state"] == "crash_loop")
        client = Client(catalog.aggregate())
        await until_ready(catalog, "r")
        assert await client.text("r__read") == "1"
        with anyio.fail_after(5), pytest.raises(RpcError, match="x cannot be asked now"):
            await Client(catalog.single("x")).request("tools/list")


async def test_a_change_of_a_servers_tools_is_told_once_and_listed(world: World) -> None:
    async with world.gateway(settings(stdio("s")), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        client = Client(catalog.aggregate())
        await client.names()
        told: list[Change] = []
        end = client.endpoint.listen(client.caller, told.append)
        await until(lambda: "s__grow" in catalog.view(None).tool_of)
        await anyio.sleep(0.3)  # its stream of changes is opened in the background
        await client.call("s__grow")
        await until(lambda: told)
        assert told == [Change(ChangeKind.TOOLS)]
        assert "s__grown" in await client.names()
        end()


async def test_a_lazy_server_is_listed_from_the_file_and_runs_only_while_it_is_called(
    world: World,
) -> None:
    answer = settings(stdio("r", lazy=True, idle_stop=1.0))
    async with world.gateway(answer, {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")  # once, to learn its tools
        await until((world.home / "gateway" / "catalog.json").exists)
        await until(lambda: state(catalog, "r")["state"] == "idle")
    assert world.keeper.log == ["start r", "stop r"]
    async with world.gateway(answer) as catalog:
        client = Client(catalog.aggregate())
        assert "r__read" in await client.names()
        assert state(catalog, "r")["state"] == "idle"
        assert world.keeper.log == ["start r", "stop r"]
        assert await client.text("r__read") == "1"
        await until(lambda: world.keeper.log == ["start r", "stop r", "start r", "stop r"])


async def test_calls_that_race_with_an_idle_stop_are_all_answered(world: World) -> None:
    async with world.gateway(settings(stdio("r", lazy=True, idle_stop=0.2)), {"r": raw("plain")}) as catalog:
        client = Client(catalog.aggregate())
        await until_ready(catalog, "r")
        with anyio.fail_after(30):
            for step in count():
                await anyio.sleep(0.25 + 0.05 * (step % 6))  # about when it is stopped
                assert (await client.text("r__read")).isdigit()
                if world.keeper.log.count("stop r") >= 3:
                    break


async def test_clients_that_are_kept_apart_have_a_process_each(world: World) -> None:
    spec = stdio("s", sharing="per_client", size=3)
    async with world.gateway(settings(spec), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        pids = [
            await Client(catalog.aggregate(), principal=who).text("s__pid")
            for who in ("ada", "bob", "ada", "cy")
        ]
        assert pids[0] == pids[2]
        assert len(set(pids)) == 3
        assert world.scaled == [("s", 2), ("s", 3)]
        with pytest.raises(RpcError, match="all 3 instances are in use by other clients"):
            await Client(catalog.aggregate(), principal="dan").call("s__pid")


async def test_a_pool_grows_with_the_calls_that_are_made_at_once(world: World) -> None:
    spec = stdio("s", sharing="pool", size=2)
    async with world.gateway(settings(spec), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        client = Client(catalog.aggregate())
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(lambda: client.call("s__slow", seconds=0.5))
        assert world.scaled == [("s", 2)]
        assert len(world.keeper.processes) == 2


async def test_results_of_safe_tools_are_used_again_until_something_is_written(world: World) -> None:
    spec = stdio("r", cache={"ttl": 60, "strategy": "lru"})
    async with world.gateway(settings(spec), {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        client = Client(catalog.aggregate())
        assert [await client.text("r__read", a=1) for _ in range(3)] == ["1", "1", "1"]
        assert await client.text("r__read", a=2) == "2"
        assert await client.text("r__good_0") == "3"  # may have written
        assert await client.text("r__read", a=1) == "4"


async def test_a_safe_call_is_made_once_more_where_that_is_allowed(world: World) -> None:
    script = world.home / "flaky.py"
    source = (raw("plain")[1], "plain")
    script.write_text(
        "import os, pathlib, runpy, sys\n"
        f"mark = pathlib.Path({str(world.home / 'mark')!r})\n"
        f"sys.argv = {list(source)!r}\n"
        "module = runpy.run_path(sys.argv[0])\n"
        "real = module['call']\n"
        "def call(request, name, arguments):\n"
        "    if name == 'read' and not mark.exists():\n"
        "        mark.write_text('x')\n"
        "        os._exit(1)\n"
        "    real(request, name, arguments)\n"
        "module['main'].__globals__['call'] = call\n"
        "module['main']()\n",
        encoding="utf-8",
    )
    async with world.gateway(
        settings(stdio("r", retry_safe=True)), {"r": [raw("x")[0], str(script)]}
    ) as catalog:
        await until_ready(catalog, "r")
        assert await Client(catalog.aggregate()).text("r__read") == "1"
        assert (world.home / "mark").exists()


async def test_a_changed_tool_is_flagged_and_blocked_until_it_is_accepted(world: World) -> None:
    answer = settings(stdio("r"), pins="block")
    async with world.gateway(answer, {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        await until((world.home / "gateway" / "pins.json").exists)
    book = world.home / "gateway" / "pins.json"
    content = json.loads(book.read_text(encoding="utf-8"))
    content["servers"]["r"]["read"]["sha256"] = "0" * 64
    book.write_text(json.dumps(content), encoding="utf-8")
    async with world.gateway(answer) as catalog:
        client = Client(catalog.aggregate())
        await until(lambda: state(catalog, "r")["state"] == "degraded")
        assert state(catalog, "r")["blocked_tools"] == ["read"]
        listed = cast("list[Json]", (await client.request("tools/list"))["tools"])
        (meta,) = [tool["_meta"] for tool in listed if tool["name"] == "r__read"]
        assert meta == {"orchestra/pin": {"state": "changed", "blocked": True}}
        with pytest.raises(RpcError, match="is not what it was when it was first seen, and is blocked"):
            await client.call("r__read")
        assert catalog.accept_pins("r") == ["read"]
        assert await client.text("r__read") == "1"


async def test_backends_come_and_go_by_a_reload_and_others_do_not_notice(world: World) -> None:
    commands = {"r": raw("plain"), "s": SDK}
    async with world.gateway(settings(stdio("r")), commands) as catalog:
        await until_ready(catalog, "r")
        client = Client(catalog.aggregate())
        pid = world.keeper.pid("r")
        catalog.update(settings(stdio("r"), stdio("s")))
        await until_ready(catalog, "s")
        assert await client.text("s__echo", text="x") == "x"
        catalog.update(settings(stdio("r", timeout=3.0)))
        assert json.loads(await client.text("r__state"))["initialized"] == 1
        assert world.keeper.pid("r") == pid
        assert not [name for name in await client.names() if name.startswith("s__")]
        with pytest.raises(RpcError, match="there is no tool 's__echo' here"):
            await client.call("s__echo", text="x")


async def test_a_watched_resource_is_told_of_and_no_other(world: World) -> None:
    async with world.gateway(settings(stdio("s")), {"s": SDK}) as catalog:
        await until_ready(catalog, "s")
        client = Client(catalog.aggregate())
        told: list[Change] = []
        client.endpoint.listen(client.caller, told.append)
        with pytest.raises(RpcError, match="Resource not found: note://nobody"):
            await client.endpoint.watch("note://nobody", client.caller)
        end = await client.endpoint.watch("note://first", client.caller)
        # The server is asked in the background; what it is told before that is nobody's loss.
        with anyio.fail_after(10):
            while not told:
                await client.call("s__touch", uri="note://other/text")
                await client.call("s__touch", uri="note://first")
                await anyio.sleep(0.05)
        assert set(told) == {Change(ChangeKind.RESOURCE, "note://first")}
        end()
        end()


async def test_a_question_that_could_be_of_two_calls_is_put_to_neither(world: World) -> None:
    async with world.gateway(settings(stdio("r", timeout=2.0)), {"r": raw("plain")}) as catalog:
        await until_ready(catalog, "r")
        answers: dict[str, Json] = {"elicitation/create": {"action": "accept"}}
        first = Client(catalog.aggregate(), Era.HANDSHAKE, answers=answers)
        second = Client(catalog.aggregate(), Era.HANDSHAKE, answers=answers)
        async with anyio.create_task_group() as group:

            async def hang() -> None:
                with pytest.raises(RpcError, match="did not answer within"):
                    await first.call("r__hang")

            group.start_soon(hang)
            await anyio.sleep(0.1)
            said = json.loads(await second.text("r__ask"))
        assert said["message"] == (
            "elicitation/create cannot be put to a client: it could belong to several calls"
        )
        assert (first.asked, second.asked) == ([], [])
        assert json.loads(await second.text("r__ask")) == {"action": "accept"}
