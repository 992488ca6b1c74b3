"""The guard of memory, on a virtual clock and with figures of the test's own."""

from collections.abc import Mapping

import anyio
import pytest

from orchestra_supervisor.engine.guard import MemoryGuard
from orchestra_supervisor.model.equipment import LimitsSpec, RecycleSpec
from orchestra_supervisor.model.figures import Figures
from orchestra_supervisor.model.spec import RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.figures import Root
from tests.unit.engine.desk import fleet_of, running, settle

pytestmark = pytest.mark.anyio
MB = 1024 * 1024


class Scales:
    """Says what the test wants of each run, and remembers who was looked at when."""

    cost = 0.0

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.looks: list[tuple[float, frozenset[str]]] = []

    async def look(
        self, runs: Mapping[str, Root], roles: Mapping[str, int], now: float, at: float
    ) -> dict[str, Figures]:
        self.looks.append((now, frozenset(runs)))
        return {
            name: Figures(at, None, self.sizes.get(name, 0) * MB, "rss", 1, 1, None, None, None)
            for name in runs
        }


def spec(name: str, **extra: object) -> ServiceSpec:
    never = RestartSpec(policy="never")
    return ServiceSpec(name=name, argv=("x",), cwd="/", restart=never, **extra)  # type: ignore[arg-type]


async def test_only_those_are_looked_at_whose_memory_nobody_else_holds_once_a_second() -> None:
    limited, grown, plain = (
        spec("limited", limits=LimitsSpec(memory=100 * MB)),
        spec("grown", recycle=RecycleSpec(memory=100 * MB)),
        spec("plain"),
    )
    scales = Scales()
    async with running(fleet_of(limited, grown, plain)) as desk, anyio.create_task_group() as tasks:
        held: list[str] = []
        guard = MemoryGuard(desk.supervisor.core, scales, desk.clock, lambda: frozenset(held))
        tasks.start_soon(guard.run)
        await anyio.sleep(2.5)
        assert [names for _, names in scales.looks] == [{"limited", "grown"}] * 3
        held.append("memory")
        await anyio.sleep(1)
        assert scales.looks[-1][1] == {"grown"}
        tasks.cancel_scope.cancel()


async def test_a_hog_is_ended_and_its_neighbour_is_not() -> None:
    specs = [spec(name, limits=LimitsSpec(memory=100 * MB)) for name in ("hog", "calm")]
    scales = Scales()
    async with running(fleet_of(*specs)) as desk, anyio.create_task_group() as tasks:
        tasks.start_soon(MemoryGuard(desk.supervisor.core, scales, desk.clock, frozenset).run)
        await settle()
        scales.sizes = {"hog": 101, "calm": 99}
        await desk.until("hog", State.FAILED)
        assert "over its limit of 100 MB" in desk.supervisor.services["hog"].reason
        assert desk.state("calm") is State.READY
        tasks.cancel_scope.cancel()


async def test_where_there_is_nobody_to_look_at_nothing_wakes() -> None:
    scales = Scales()
    async with running(fleet_of(spec("plain"))) as desk, anyio.create_task_group() as tasks:
        tasks.start_soon(MemoryGuard(desk.supervisor.core, scales, desk.clock, frozenset).run)
        await anyio.sleep(1000)
        assert scales.looks == []
        tasks.cancel_scope.cancel()


async def test_a_look_that_costs_much_is_taken_less_often() -> None:
    scales = Scales()
    scales.cost = 0.1
    limited = fleet_of(spec("a", limits=LimitsSpec(memory=MB)))
    async with running(limited) as desk, anyio.create_task_group() as tasks:
        tasks.start_soon(MemoryGuard(desk.supervisor.core, scales, desk.clock, frozenset).run)
        await anyio.sleep(20.5)
        assert len(scales.looks) == 5
        tasks.cancel_scope.cancel()
