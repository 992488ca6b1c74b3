"""The pump with the front of the gateway itself, which is ended and killed under it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequestParams, ElicitResult

from tests.e2e.cli.fake_control import holding_lock
from tests.e2e.cli.runner import orchestra
from tests.e2e.cli.shim_driver import argv
from tests.e2e.gateway.front_driver import Front

LIMIT = 30.0
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / ".orchestra"
    home.mkdir()
    with holding_lock(home):  # a keeper is there: a gateway that ends is waited for
        yield home


def pump(home: Path, *words: str, mode: str = "auto") -> Client:
    async def on_elicit(_context: object, _params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"username": "u", "email": "e@example.org"})

    command = argv("--home", home, *words)
    server = StdioServerParameters(command=command[0], args=command[1:])
    return Client(server, mode=mode, elicitation_callback=on_elicit)


def text_of(result: object) -> str:
    return str(getattr(result, "content", result))


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_goes_on_over_restarts(home: Path, mode: str, number: int) -> None:
    front = Front(home)
    try:
        with anyio.fail_after(LIMIT):
            async with pump(home, mode=mode) as client:
                assert client.protocol_version == MODES[mode]
                tools = [tool.name for tool in (await client.list_tools()).tools]
                for _ in range(2):
                    assert "simple text" in text_of(await client.call_tool("test_simple_text"))
                    front.process.send_signal(number)
                    front.wait()
                    front = Front(home)
                    assert [tool.name for tool in (await client.list_tools()).tools] == tools
                if mode == "legacy":
                    assert "accept" in text_of(await client.call_tool("test_elicitation", {"message": "?"}))
    finally:
        front.end()


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_endpoint_that_is_not_served_is_told(home: Path) -> None:
    front = Front(home)
    try:
        with anyio.fail_after(LIMIT), pytest.raises((MCPError, ExceptionGroup)) as caught:
            async with pump(home, "--server", "nowhere"):
                pass
        fault: BaseException = caught.value
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        assert isinstance(fault, MCPError)
        assert "/s/nowhere/mcp" in str(fault)
    finally:
        front.end()


@pytest.mark.slow
def test_a_person_asks_it_at_a_terminal(home: Path) -> None:
    front = Front(home)
    try:
        found = json.loads(orchestra("mcp", "tools", "--server", "control", "--json", cwd=home.parent).stdout)
        assert "test_simple_text" in [tool["name"] for tool in found["tools"]]
        done = orchestra("mcp", "call", "control", "test_simple_text", cwd=home.parent)
        assert (done.returncode, "simple text" in done.stdout) == (0, True)
        done = orchestra("mcp", "call", "control", "test_error_handling", cwd=home.parent)
        assert done.returncode == 1
        done = orchestra("mcp", "tools", "--server", "nowhere", cwd=home.parent)
        assert (done.returncode, "nothing is served at /s/nowhere/mcp" in done.stderr) == (2, True)
    finally:
        front.end()
