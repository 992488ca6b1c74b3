"""Where links come from: what is expected to be there, and at which path."""

from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.gateway.backends.callbacks import Callbacks
from orchestra_supervisor.gateway.backends.framing import Noise
from orchestra_supervisor.gateway.backends.http_link import HttpLink
from orchestra_supervisor.gateway.backends.memory import EraMemory
from orchestra_supervisor.gateway.backends.sources import Demand, HttpSource
from orchestra_supervisor.gateway.endpoint import Era

pytestmark = pytest.mark.anyio


async def path_of(memory: EraMemory, url: str) -> str:
    source = HttpSource(memory, "s", url, Callbacks().headers, Demand(is_wanted=True))
    link, _ = await source.open(lambda _: None, Noise())
    assert isinstance(link, HttpLink)
    return link._pool.target.path


async def test_the_path_at_which_a_server_was_found_is_gone_to_where_none_is_configured(
    tmp_path: Path,
) -> None:
    memory = EraMemory(tmp_path / "state.json")
    memory.note_backend("s", Era.HANDSHAKE, "/mcp")
    assert await path_of(memory, "http://127.0.0.1:1") == "/mcp"
    assert await path_of(memory, "http://127.0.0.1:1/other") == "/other"


async def test_who_waits_for_a_service_is_told_however_often_it_was_stopped() -> None:
    demand = Demand(is_wanted=False)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(demand.wait)
            await anyio.wait_all_tasks_blocked()
            demand.stop()
            demand.start()
