"""When a fleet counts as started, and when its start has failed."""

import anyio
import pytest

from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.model.spec import RestartSpec, ServiceSpec
from orchestra_supervisor.rules.fleet import STEADY
from tests.unit.engine.desk import fleet_of, running, settle

pytestmark = pytest.mark.anyio


def one(**fields: object) -> ServiceSpec:
    never = RestartSpec(policy="never")
    return ServiceSpec.model_validate(
        {"name": "a", "argv": ("x",), "cwd": "/", "restart": never, "required_for_system": True, **fields}
    )


async def test_a_required_service_without_probes_has_to_live_before_the_fleet_counts_as_started() -> None:
    async with running(fleet_of(one())) as desk:
        await settle()
        assert desk.supervisor.phase is Phase.STARTING
        await anyio.sleep(STEADY - 0.01)
        assert desk.supervisor.phase is Phase.STARTING
        await anyio.sleep(0.02)
        assert desk.supervisor.phase is Phase.RUNNING


async def test_one_that_ends_before_that_fails_the_start() -> None:
    async with running(fleet_of(one())) as desk:
        await settle()
        desk.keeper.end(desk.run("a"), 1)
        await settle()
        assert desk.supervisor.exit_status == 1
        assert desk.keeper.orders[-1] == ("quit", 1)


async def test_one_that_ends_later_is_a_failed_service_in_a_running_fleet() -> None:
    async with running(fleet_of(one())) as desk:
        await anyio.sleep(STEADY + 0.01)
        desk.keeper.end(desk.run("a"), 1)
        await settle()
        assert desk.supervisor.phase is Phase.RUNNING
        assert desk.supervisor.exit_status == 0


async def test_a_service_that_is_not_required_keeps_nobody_waiting() -> None:
    async with running(fleet_of(one(required_for_system=False))) as desk:
        await settle()
        assert desk.supervisor.phase is Phase.RUNNING
