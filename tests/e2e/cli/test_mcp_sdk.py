"""The SDK's own client through the pump, in both eras, over a restart of the gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

from tests.e2e.cli.shim_driver import Bench, argv, bench_at

LIMIT = 20.0
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with bench_at(tmp_path / ".orchestra") as bench:
        bench.hold()
        yield bench


def pump(bench: Bench, mode: str) -> Client:
    words = argv("--home", bench.home)
    return Client(StdioServerParameters(command=words[0], args=words[1:]), mode=mode)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", MODES)
async def test_it_lists_and_calls_and_goes_on_after_a_restart(bench: Bench, mode: str) -> None:
    bench.start()
    with anyio.fail_after(LIMIT):
        async with pump(bench, mode) as client:
            assert client.protocol_version == MODES[mode]
            assert "echo" in {tool.name for tool in (await client.list_tools()).tools}
            for _ in range(2):
                with pytest.raises(MCPError, match="the gateway restarted; ask again"):
                    await client.call_tool("die")
                bench.gateways[-1].wait(LIMIT)
                pid = bench.start()
                result = await client.call_tool("echo", {"text": "again"})
                assert result.structured_content == {"said": {"text": "again"}, "to": pid}


@pytest.mark.anyio
async def test_a_stream_of_changes_goes_on_after_a_restart(bench: Bench) -> None:
    bench.start()
    with anyio.fail_after(LIMIT):
        async with (
            pump(bench, "2026-07-28") as client,
            client.listen(resource_subscriptions=["fleet://status"], tools_list_changed=True) as changes,
        ):
            bench.kill()
            bench.start()
            told = {type(await anext(changes)).__name__ for _ in range(2)}
            assert told == {"ToolsListChanged", "ResourceUpdated"}


@pytest.mark.anyio
async def test_without_a_fleet_it_connects_and_the_model_can_learn_why(tmp_path: Path) -> None:
    with bench_at(tmp_path / ".orchestra") as bench, anyio.fail_after(LIMIT):
        async with pump(bench, "auto") as client:
            assert client.protocol_version == "2025-11-25"
            result = await client.call_tool("fleet_status")
            assert result.is_error
            assert f"no fleet runs on {bench.home}" in str(result.content)
            pid = bench.start()
            with anyio.fail_after(LIMIT):
                while (result := await client.call_tool("echo")).structured_content is None:
                    pass
            assert result.structured_content == {"said": {}, "to": pid}
