"""The configuration is reloaded when its files change, on a virtual clock: judged once, never in a loop."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from orchestra_supervisor.engine.config_watch import ConfigWatch
from orchestra_supervisor.engine.reload import Inputs
from orchestra_supervisor.model.errors import ConfigError
from orchestra_supervisor.model.spec import Fleet, FleetSettings, ServiceSpec
from orchestra_supervisor.model.states import State
from tests.unit.engine.desk import fleet_of, settle
from tests.unit.engine.test_reload import Room, a_room
from tests.unit.engine.test_watches import Feed

pytestmark = pytest.mark.anyio


def one(level: str) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": "web", "argv": ("x",), "cwd": "/", "env": {"LEVEL": level}})


def watched(level: str, *, is_watched: bool = True) -> Fleet:
    settings = FleetSettings(watch_config=is_watched, watch_debounce=0.5)
    return fleet_of(one(level)).model_copy(update={"settings": settings})


@dataclass
class Watched:
    room: Room
    feeds: list[Feed]
    content: str = "info"
    after_look: Callable[[], None] = lambda: None

    def write(self, fleet: Fleet, content: str) -> None:
        self.room.disk.fleet, self.content = fleet, content
        self.room.disk.error = None
        self.feeds[-1].change("/orchestra.json")

    def spoil(self, content: str) -> None:
        self.room.disk.error = ConfigError(f"orchestra.json:3: {content}")
        self.content = content
        self.feeds[-1].change("/orchestra.json")

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.room.events("config.")]


@asynccontextmanager
async def a_watch(*, is_watched: bool = True) -> AsyncGenerator[Watched]:
    async with a_room(one("info")) as room, anyio.create_task_group() as tasks:
        fleet = watched("info", is_watched=is_watched)
        room.disk.fleet = room.desk.supervisor.fleet = fleet
        one_watch = Watched(room, [])

        @asynccontextmanager
        async def open_watch(_inputs: Inputs) -> AsyncGenerator[Feed]:
            one_watch.feeds.append(Feed())
            yield one_watch.feeds[-1]

        async def content(_inputs: Inputs) -> str:
            found = one_watch.content
            one_watch.after_look()
            return found

        watch = ConfigWatch(
            clock=room.desk.clock,
            bus=room.desk.bus,
            reloader=room.reloader,
            settings=lambda: room.desk.supervisor.fleet.settings,
            open_watch=open_watch,
            content=content,
        )
        tasks.start_soon(watch.run)
        await settle()
        yield one_watch
        tasks.cancel_scope.cancel()


async def test_a_changed_file_is_a_reload_by_the_file_watch_once_it_is_quiet() -> None:
    async with a_watch() as one_watch:
        one_watch.write(watched("debug"), "debug")
        await anyio.sleep(0.4)
        assert await one_watch.kinds() == []
        await anyio.sleep(0.2)
        (event,) = await one_watch.room.events("config.")
        assert (event.kind, event.data["by"]) == ("config.reloaded", "file watch")
        await settle()
        assert one_watch.room.desk.supervisor.services["web"].spec.env == {"LEVEL": "debug"}
        assert one_watch.room.desk.state("web") is State.READY
        one_watch.write(watched("warn"), "warn")
        await anyio.sleep(1.0)
        assert await one_watch.kinds() == ["config.reloaded"] * 2


async def test_a_file_that_is_only_touched_is_no_reload() -> None:
    async with a_watch() as one_watch:
        for _ in range(3):
            one_watch.write(watched("info"), "info")
            await anyio.sleep(1.0)
        assert await one_watch.kinds() == []


async def test_a_bad_file_is_refused_once_for_each_content_and_a_good_one_is_taken() -> None:
    async with a_watch() as one_watch:
        for content in ("bad", "bad", "worse", "worse"):
            one_watch.spoil(content)
            await anyio.sleep(2.0)
        assert await one_watch.kinds() == ["config.refused"] * 2
        await anyio.sleep(1000.0)
        assert len(await one_watch.kinds()) == 2, "and nothing goes round in circles"
        one_watch.write(watched("debug"), "debug")
        await anyio.sleep(2.0)
        assert await one_watch.kinds() == ["config.refused", "config.refused", "config.reloaded"]


async def test_one_that_is_spoilt_between_two_looks_is_refused_once() -> None:
    async with a_watch() as one_watch:

        def spoil() -> None:
            one_watch.room.disk.error = ConfigError("orchestra.json:3: bad")
            one_watch.content = "bad"

        one_watch.after_look = spoil
        one_watch.write(watched("info"), "the same, written otherwise")
        await anyio.sleep(2.0)
        assert await one_watch.kinds() == ["config.refused"]
        one_watch.after_look = lambda: None
        one_watch.spoil("worse")
        await anyio.sleep(2.0)
        assert await one_watch.kinds() == ["config.refused"] * 2


async def test_a_full_disk_is_told_and_not_tried_in_a_loop() -> None:
    async with a_watch() as one_watch:
        one_watch.room.disk.full = True
        one_watch.write(watched("debug"), "debug")
        await anyio.sleep(100.0)
        (event,) = await one_watch.room.events("config.")
        assert event.kind == "config.refused"
        assert "No space left" in event.message


async def test_watching_is_switched_on_and_off_by_a_reload() -> None:
    async with a_watch(is_watched=False) as one_watch:
        assert one_watch.feeds == []
        one_watch.room.disk.fleet = watched("info")
        await one_watch.room.reloader.reload("olga")
        await settle()
        assert len(one_watch.feeds) == 1
        one_watch.write(watched("debug", is_watched=False), "debug")
        await anyio.sleep(2.0)
        assert await one_watch.kinds() == ["config.reloaded"] * 2
        one_watch.write(watched("warn"), "warn")
        await anyio.sleep(2.0)
        assert await one_watch.kinds() == ["config.reloaded"] * 2


async def test_what_was_written_while_nobody_looked_is_found() -> None:
    async with a_watch(is_watched=False) as one_watch:
        one_watch.room.disk.fleet = watched("info")
        await one_watch.room.reloader.reload("olga")
        one_watch.room.disk.fleet, one_watch.content = watched("late"), "late"
        await anyio.sleep(1.0)
        assert one_watch.room.desk.supervisor.services["web"].spec.env == {"LEVEL": "late"}


async def test_a_configuration_that_cannot_be_watched_is_told_once() -> None:
    async with a_watch() as one_watch:
        for _ in range(3):
            one_watch.feeds[-1].fail("/ cannot be watched: inotify watch limit reached")
            await anyio.sleep(1.0)
        (event,) = await one_watch.room.events("watch.")
        assert event.message.startswith("the configuration is not watched: / cannot be watched")
