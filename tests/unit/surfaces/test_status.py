import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestra_supervisor.control import Control
from orchestra_supervisor.engine.meter import Meter, Scene
from orchestra_supervisor.model.errors import UnknownService
from orchestra_supervisor.model.figures import Figures
from orchestra_supervisor.model.report import ServiceReport
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.figures import ProcessSampler
from orchestra_supervisor.rules.schedule import Clocks
from orchestra_supervisor.surfaces.status import StatusTeller
from tests.unit.engine.desk import settle
from tests.unit.surfaces.api_desk import Api, api_of, service

pytestmark = pytest.mark.anyio
FIGURES = Figures(1.0, 12.5, 4_096, "pss", 1, 2, 3, 4, 5)
JOB = service("job", kind="periodic", schedule={"every": 3600}, restart={"policy": "never"})


class Noted(Control):
    """Remembers whose reports were made, and has a clock that stands."""

    made: list[str]

    def now(self) -> Clocks:
        return Clocks(5.0, 1_000_005.0)

    def report(self, name: str, now: Clocks) -> ServiceReport:
        self.made.append(name)
        return super().report(name, now)


class Room:
    """A teller that is asked again and again."""

    def __init__(self, api: Api) -> None:
        self.desk = api.desk
        self.control = Noted(**{one.name: getattr(api.control, one.name) for one in fields(Control)})
        self.control.made = []
        self.teller = StatusTeller(self.control, self.describe)

    def describe(self) -> dict[str, object]:
        return {"services": len(self.control.supervisor.services)}

    async def made(self, *names: str) -> list[str]:
        """Ask; return whose rows were made, when what is told is what one tells who has not been asked."""
        self.control.made.clear()
        told = await self.teller.answer(names)
        made = list(self.control.made)
        fresh = json.loads(await StatusTeller(self.control, self.describe).answer(names))
        mine = json.loads(told)
        assert mine == fresh
        return made


@asynccontextmanager
async def a_room(folder: Path, *specs: ServiceSpec) -> AsyncGenerator[Room]:
    async with api_of(folder, *specs) as api:
        yield Room(api)


def row_of(answer: bytes, name: str) -> dict[str, Any]:
    (row,) = [row for row in json.loads(answer)["services"] if row["name"] == name]
    return row


async def test_a_service_is_written_down_again_when_something_of_it_has_changed(folder: Path) -> None:
    async with a_room(folder, service("web"), service("db")) as room:
        assert await room.made() == ["web", "db"]
        assert await room.made() == []
        room.desk.keeper.end(room.desk.run("web"), 3)
        await settle()
        assert await room.made("web") == ["web"]
        assert await room.made() == []


async def test_what_is_not_of_the_record_is_told_as_it_is_now(folder: Path) -> None:
    async with a_room(folder, service("web", limits={"memory": 2**30}), service("db")) as room:
        await room.made()
        watched: dict[str, object] = {"paths": ["a"], "files": 1, "error": ""}
        room.control.watching = {"web": watched}.get
        assert await room.made() == ["web"]
        room.control.watching = {"web": {**watched, "files": 2}}.get
        assert await room.made() == ["web"]
        assert row_of(await room.teller.answer([]), "web")["watching"]["files"] == 2
        room.control.supervisor.limits_held = frozenset({"memory"})
        assert sorted(await room.made()) == ["db", "web"]
        assert row_of(await room.teller.answer([]), "web")["limits"]["memory"]["held"] == "cgroup"


async def test_new_figures_are_told_and_the_rest_of_the_row_stays(folder: Path) -> None:
    async with a_room(folder, service("web"), service("db")) as room:
        await room.made()
        room.control.meter = Meter(
            sampler=ProcessSampler(os.getpid()),
            scene=lambda: Scene({}, {}),
            period=lambda: 10.0,
            clock=room.desk.clock,
            journal=room.desk.journal,
        )
        for figures in (FIGURES, replace(FIGURES, cpu=None)):
            room.control.meter.latest = {"web": figures}
            assert await room.made() == []
            answer = await room.teller.answer([])
            assert (row_of(answer, "web")["figures"], row_of(answer, "db")["figures"]) == (
                figures.to_dict(),
                None,
            )


async def test_a_row_in_which_the_time_stands_is_made_for_each_answer(folder: Path) -> None:
    slow = service("slow", restart={"policy": "always", "backoff": {"initial": 50.0, "jitter": False}})
    async with a_room(folder, slow, JOB) as room:
        room.desk.keeper.end(room.desk.run("slow"), 3)
        await settle()
        if room.desk.supervisor.services["slow"].state is not State.BACKOFF:
            room.desk.keeper.end(room.desk.run("slow"), 3)
        await room.desk.until("slow", State.BACKOFF)
        assert await room.made() == ["slow", "job"]
        assert await room.made() == ["slow", "job"]


async def test_services_that_come_and_go_do_so_in_the_answer_and_leave_no_row(folder: Path) -> None:
    async with a_room(folder, service("web"), service("db")) as room:
        await room.made()
        room.desk.verbs.reload(Fleet(services={"web": service("web"), "new": service("new")}), {})
        await room.desk.until("new", State.READY)
        await room.desk.verbs.forget_removed(["db"])
        answer = json.loads(await room.teller.answer([]))
        assert [row["name"] for row in answer["services"]] == ["web", "new"]
        await room.made()
        with pytest.raises(UnknownService):
            await room.teller.answer(["db"])
        assert await room.made("web", "new") == []


async def test_others_get_their_turn_while_many_services_are_written_down(folder: Path) -> None:
    async with a_room(folder, *(service(f"s{number}") for number in range(200))) as room:
        turns: list[int] = []

        async def others() -> None:
            while True:
                turns.append(len(room.control.made))
                await checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(others)
            await checkpoint()
            await room.teller.answer([])
            tasks.cancel_scope.cancel()
        steps = [after - before for before, after in pairwise(turns)]
        assert len(room.control.made) == 200
        assert max(steps) <= 32


async def test_an_answer_is_of_one_instant_whatever_happens_while_it_is_prepared(folder: Path) -> None:
    async with a_room(folder, *(service(f"s{number}") for number in range(100))) as room:

        async def stop() -> None:
            room.desk.verbs.stop(["s0"], "asked", with_dependents=False)
            room.desk.verbs.reload(
                Fleet(services={f"s{number}": service(f"s{number}") for number in range(99)}), {}
            )
            await room.desk.until("s0", State.STOPPED)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            answer = await room.teller.answer([])
            services = room.control.supervisor.services
            told = json.loads(answer)
            assert {row["name"]: row["state"] for row in told["services"]} == {
                name: one.state for name, one in services.items()
            }
            assert told["daemon"]["services"] == len(services)
