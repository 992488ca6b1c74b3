"""When figures are taken and what is kept of them, on a virtual clock."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest

from orchestra_supervisor.engine.meter import LOOKED_FOR, Meter, Scene
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.model.figures import FigureQuery, Figures
from orchestra_supervisor.process.figures import Root
from tests.unit.engine.desk import VirtualClock

pytestmark = pytest.mark.anyio


@dataclass
class Bench:
    """A meter whose looks are written down."""

    period: float = 10.0
    cost: float = 0.0
    is_blind: bool = False
    times: list[float] = field(default_factory=list[float])
    journal: MemoryJournal = field(default_factory=MemoryJournal)

    def __post_init__(self) -> None:
        self.began = anyio.current_time()
        self.meter = Meter(
            sampler=self,
            scene=lambda: Scene({"web": Root("web-1", 1)}, {"role:daemon": 2}),
            period=lambda: self.period,
            clock=VirtualClock(),
            journal=self.journal,
        )

    async def look(
        self, runs: Mapping[str, Root], roles: Mapping[str, int], now: float, at: float
    ) -> dict[str, Figures]:
        self.times.append(round(now - self.began, 3))
        await anyio.lowlevel.checkpoint()
        one = Figures(at, 1.0, 1, "pss", 1, 1, 1, 1, 1)
        return {} if self.is_blind else dict.fromkeys([*runs, *roles], one)

    async def kept(self) -> list[float]:
        found = await self.journal.figures(FigureQuery(name="web"))
        return [round(one.at - 1_000_000 - self.began, 3) for one in found.get("web", [])]


@asynccontextmanager
async def measuring(**fields: float) -> AsyncGenerator[Bench]:
    bench = Bench(**fields)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.meter.run)
        await anyio.wait_all_tasks_blocked()
        yield bench
        tasks.cancel_scope.cancel()


async def test_figures_are_taken_once_a_period_and_kept() -> None:
    async with measuring() as bench:
        assert set(bench.meter.latest) == {"web", "role:daemon"}
        await anyio.sleep(35)
        assert bench.times == [0, 10, 20, 30]
        assert await bench.kept() == [0, 10, 20, 30]


async def test_they_are_taken_every_second_while_somebody_looks_and_not_kept_more_often() -> None:
    async with measuring() as bench:
        await anyio.sleep(4.5)
        for _ in range(20):
            bench.meter.look()
            await anyio.sleep(0.25)
        assert bench.times[:6] == [0, 4.5, 5.5, 6.5, 7.5, 8.5], "not more often, however often one asks"
        await anyio.sleep(60)
        close = [
            late - early for early, late in zip(bench.times, bench.times[1:], strict=False) if early > 13
        ]
        assert close == [10.0] * len(close), f"{LOOKED_FOR} s after the last question it is quiet again"
        assert all(late - early >= 10 for early, late in pairwise(await bench.kept()))


async def test_a_look_that_is_dear_comes_less_often() -> None:
    async with measuring(cost=0.5) as bench:
        await anyio.sleep(120)
        assert bench.times == [0, 50, 100], "half a second is one percent of fifty"
        for _ in range(10):
            bench.meter.look()
            await anyio.sleep(1.5)
        assert bench.times[3:5] == [120, 130], "and five percent of ten, while somebody looks"


async def test_a_period_of_zero_takes_none_until_another_one_is_configured() -> None:
    async with measuring(period=0.0) as bench:
        bench.meter.look()
        await anyio.sleep(1_000)
        assert (bench.times, dict(bench.meter.latest)) == ([], {})
        bench.period = 10.0
        bench.meter.wake()
        await anyio.wait_all_tasks_blocked()
        assert bench.times == [1_000]
        bench.period = 0.0
        bench.meter.wake()
        await anyio.wait_all_tasks_blocked()
        assert dict(bench.meter.latest) == {}, "old figures are not told as new ones"


async def test_a_short_period_means_once_a_second() -> None:
    async with measuring(period=0.01) as bench:
        await anyio.sleep(2.5)
        assert bench.times == [0, 1, 2]


async def test_what_cannot_be_seen_is_unknown_and_not_kept() -> None:
    async with measuring() as bench:
        bench.is_blind = True
        await anyio.sleep(11)
        assert dict(bench.meter.latest) == {}
        assert await bench.kept() == [0]
