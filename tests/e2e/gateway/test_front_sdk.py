"""The SDK's own client at the front: both eras, over HTTP and over the socket of the shim."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult

from tests.e2e.gateway.front_driver import Front, socket_transport

LEGACY, MODERN = "legacy", "auto"
WAYS = [(wire, era) for wire in ("http", "socket") for era in (LEGACY, MODERN)]
Body = Callable[[Client], Awaitable[None]]

pytestmark = pytest.mark.parametrize(("wire", "era"), WAYS)


def connected(front: Front, wire: str, era: str, body: Body, **options: Any) -> None:
    async def main() -> None:
        hello = {"orchestra": 1, "endpoint": "control", "profile": None, "server": None}
        target = front.url if wire == "http" else socket_transport(front.socket_path, hello)
        with anyio.fail_after(20):
            async with Client(target, mode=era, cache=None, **options) as client:
                await body(client)

    anyio.run(main)


def said(result: Any) -> str:
    return str(result.content[0].text)


def test_it_lists_calls_reads_gets_and_completes(front: Front, wire: str, era: str) -> None:
    async def body(client: Client) -> None:
        assert client.server_info is not None
        assert (client.server_info.name, client.instructions) == ("fixture", "A server for tests.")
        tools = await client.list_tools()
        assert tools.tools[0].name == "test_simple_text"
        result = await client.call_tool("echo", {"a": 1, "ü": ["€", None]})
        assert result.structured_content == {"said": {"a": 1, "ü": ["€", None]}}
        (content,) = (await client.read_resource("test://template/7/data")).contents
        assert content.uri == "test://template/7/data"
        prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "x", "arg2": "y"})
        assert prompt.messages[0].content.text == "Prompt with arguments: arg1='x', arg2='y'"  # type: ignore[union-attr]
        assert [row.uri_template for row in (await client.list_resource_templates()).resource_templates] == [
            "test://template/{id}/data"
        ]

    connected(front, wire, era, body)


def test_an_unknown_tool_and_a_fault_of_the_server_are_errors(front: Front, wire: str, era: str) -> None:
    async def body(client: Client) -> None:
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("nothing", {})
        with pytest.raises(MCPError) as fault:
            await client.call_tool("crash", {})
        assert (unknown.value.error.code, unknown.value.error.message) == (
            -32602,
            "there is no tool 'nothing'",
        )
        assert (fault.value.error.code, fault.value.error.message) == (
            -32603,
            "tools/call failed in the gateway; its log says how",
        )
        assert said(await client.call_tool("test_simple_text", {})).startswith("This is a simple text")

    connected(front, wire, era, body)
    assert "a secret that no client may see" in front.log.read_text(encoding="utf-8")


def test_progress_comes_before_the_result(front: Front, wire: str, era: str) -> None:
    seen: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    async def body(client: Client) -> None:
        result = await client.call_tool("test_tool_with_progress", {}, progress_callback=note)
        assert said(result) == "Progressed to the end."
        assert seen == [(0, 100), (50, 100), (100, 100)]

    connected(front, wire, era, body)


def test_the_user_is_asked_and_their_answer_comes_back(front: Front, wire: str, era: str) -> None:
    asked: list[str] = []

    async def answer(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"name": "Ada", "username": "ada", "email": "a@b.c"})

    async def body(client: Client) -> None:
        if era == LEGACY:
            result = await client.call_tool("test_elicitation", {"message": "Who are you?"})
            assert said(result).startswith("User response: action=accept, content=")
        else:
            result = await client.call_tool("test_input_required_result_elicitation", {})
            assert said(result) == "Hello, Ada!"
        assert asked == ["Who are you?" if era == LEGACY else "What is your name?"]

    connected(front, wire, era, body, elicitation_callback=answer)


def test_a_client_that_cannot_be_asked_is_not(front: Front, wire: str, era: str) -> None:
    async def body(client: Client) -> None:
        result = await client.call_tool("test_elicitation", {"message": "Who are you?"})
        assert (result.is_error, said(result)) == (
            True,
            "the client did not declare 'elicitation'"
            if era == LEGACY
            else "a stateless client is asked by a result that says input_required",
        )

    connected(front, wire, era, body)


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
def test_changes_are_told_once_for_a_burst(front: Front, wire: str, era: str) -> None:
    heard: list[str] = []
    uri = "test://watched-resource"
    done = anyio.Event()

    def hear(what: str, of: str) -> None:
        heard.append(f"{what} {of}".strip())
        if len(heard) == 2:
            done.set()

    async def take(message: Any) -> None:
        if era == LEGACY:
            hear(message.method, getattr(message.params, "uri", ""))

    async def listen(client: Client, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with client.listen(tools_list_changed=True, resource_subscriptions=[uri]) as events:
            task_status.started()
            async for event in events:
                hear(type(event).__name__, getattr(event, "uri", ""))

    async def body(client: Client) -> None:
        async with anyio.create_task_group() as tasks:
            if era == LEGACY:
                await client.subscribe_resource(uri)
            else:
                await tasks.start(listen, client)
                await client.call_tool("test_trigger_prompt_change", {})  # not asked for
            await client.call_tool("touch", {"uri": uri, "times": 500})
            await client.call_tool("touch", {"uri": "test://static-text", "times": 1})  # not asked for
            await client.call_tool("test_trigger_tool_change", {})
            await done.wait()
            tasks.cancel_scope.cancel()

    connected(front, wire, era, body, message_handler=take)
    names = ("notifications/resources/updated", "notifications/tools/list_changed")
    resource, tools = names if era == LEGACY else ("ResourceUpdated", "ToolsListChanged")
    assert heard == [f"{resource} {uri}", tools]


def test_a_call_that_is_given_up_is_cancelled(front: Front, wire: str, era: str) -> None:
    async def body(client: Client) -> None:
        began = anyio.Event()

        async def note(progress: float, total: float | None, message: str | None) -> None:
            began.set()

        async def call() -> None:
            await client.call_tool("wait_for_ever", {}, progress_callback=note)

        before = await cancelled(client)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await began.wait()
            tasks.cancel_scope.cancel()
        while await cancelled(client) == before:
            await anyio.sleep(0.01)

    async def cancelled(client: Client) -> str:
        return said(await client.call_tool("cancelled", {}))

    connected(front, wire, era, body)


def test_twenty_calls_at_once_are_answered_each(front: Front, wire: str, era: str) -> None:
    answers: dict[int, Any] = {}

    async def body(client: Client) -> None:
        async def call(number: int) -> None:
            answers[number] = (await client.call_tool("echo", {"n": number})).structured_content

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, number)

    connected(front, wire, era, body)
    assert answers == {number: {"said": {"n": number}} for number in range(20)}
