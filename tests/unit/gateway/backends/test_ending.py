"""Services that are told to end: nothing is held open to them, and nothing is kept from those that stay."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestra_supervisor.gateway.backends.backend import Backend
from orchestra_supervisor.gateway.backends.callbacks import Callbacks
from orchestra_supervisor.gateway.backends.channel import StdioChannel
from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.backends.memory import EraMemory
from orchestra_supervisor.gateway.backends.spec import BackendSpec
from orchestra_supervisor.gateway.backends.surroundings import Surroundings
from tests.unit.gateway.backends.test_calling import Nobody

pytestmark = pytest.mark.anyio


async def test_a_replica_that_is_gone_before_its_end_was_told_of_holds_nobody_back(tmp_path: Path) -> None:
    spec = BackendSpec("s", is_stdio=False, url="http://127.0.0.1:1/mcp", service="s", members=("s-1", "s-2"))
    around = Surroundings(StdioChannel(None), EraMemory(tmp_path / "state.json"), Callbacks())
    backend = Backend(spec, around, Nobody(), Lists(), None)
    standing = backend.seats[0].instance._standing
    backend.told("s-2", "stopping")
    assert standing.is_let_go
    assert backend.update(replace(spec, members=("s-1",)))
    assert not standing.is_let_go
    backend.told("s-1", "stopping")
    assert backend.update(replace(spec, members=("s-1",), priority=7))
    assert standing.is_let_go
