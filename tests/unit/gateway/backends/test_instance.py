"""One instance of a server: what it remembers of how that speaks."""

from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.gateway.backends.callbacks import Callbacks
from orchestra_supervisor.gateway.backends.instance import Instance
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.backends.memory import EraMemory
from orchestra_supervisor.gateway.backends.sources import Demand, HttpSource
from orchestra_supervisor.gateway.backends.spec import BackendSpec
from orchestra_supervisor.gateway.endpoint import Era
from orchestra_supervisor.gateway.messages import METHOD_NOT_FOUND, RpcError
from tests.unit.gateway.backends.test_lister import INTRODUCTION, Server

pytestmark = pytest.mark.anyio


async def test_a_server_that_has_become_a_stateless_one_is_asked_anew_how_it_speaks(tmp_path: Path) -> None:
    memory = EraMemory(tmp_path / "state.json")
    url = "http://127.0.0.1:1/mcp"
    source = HttpSource(memory, "s", url, Callbacks().headers, Demand(is_wanted=True))
    server = Server(
        initialize={"error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}},
        server={"result": {"supportedVersions": ["2026-07-28"], "capabilities": {}}},
    )
    spec = BackendSpec("s", is_stdio=False, url=url)
    instance = Instance("s", spec, source, server, client={}, known_era=Era.HANDSHAKE)
    with pytest.raises(RpcError, match="Method not found"):
        await instance._introduce(server)
    assert (await instance._introduce(server)).era is Era.STATELESS
    assert memory.era_of("s") is Era.STATELESS


async def test_who_waits_for_a_server_that_has_just_gone_waits_for_the_next_attempt(tmp_path: Path) -> None:
    memory, server = EraMemory(tmp_path / "state.json"), Server()
    source = HttpSource(memory, "s", "http://127.0.0.1:1", Callbacks().headers, Demand(is_wanted=True))
    spec = BackendSpec("s", is_stdio=False, url="http://127.0.0.1:1")
    instance = Instance("s", spec, source, server, client={})
    instance._become_ready(server, INTRODUCTION, Lists())
    lost = LinkError(Trouble.LOST, "it closed the connection")
    instance.report(lost)
    with anyio.move_on_after(0.01) as waited:
        await instance.wait_tried()
    assert waited.cancelled_caught, "there was no attempt yet"
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(instance.wait_tried)
            await anyio.wait_all_tasks_blocked()
            instance._note_end(lost)
