"""The tasks of a backend's instances."""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from orchestra_supervisor.gateway.backends.channel import StdioChannel
from orchestra_supervisor.gateway.backends.crew import Crew
from orchestra_supervisor.gateway.backends.instance import Instance
from orchestra_supervisor.gateway.backends.memory import EraMemory
from orchestra_supervisor.gateway.backends.sources import StdioSource
from tests.unit.gateway.backends.test_calling import Sharing, backend

pytestmark = pytest.mark.anyio


class Told(Instance):
    """Takes note that it runs."""

    has_run = False

    async def run(self) -> None:
        self.has_run = True
        await anyio.sleep_forever()


def instance(home: Path) -> Told:
    owner = backend(home, Sharing.SHARED)
    source = StdioSource(StdioChannel(None), EraMemory(home / "state.json"), "s", "s")
    return Told("s", owner.spec, source, owner, client={})


async def test_an_instance_that_is_dropped_as_soon_as_it_was_added_does_not_run(tmp_path: Path) -> None:
    crew, kept, dropped = Crew("s"), instance(tmp_path), instance(tmp_path)
    async with anyio.create_task_group() as group:
        crew.begin(group)
        crew.add(dropped)
        crew.add(kept)
        crew.drop(dropped)
        with anyio.fail_after(5):
            while not kept.has_run:
                await anyio.lowlevel.checkpoint()
        assert not dropped.has_run
        crew.drop(kept)
