"""Changed files become restarts, on a virtual clock: after a burst, by their names, and not for ever."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from orchestra_supervisor.engine.file_changes import FileChanges
from orchestra_supervisor.engine.telling import Teller
from orchestra_supervisor.engine.watches import Watches, words_of
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.equipment import HookSpec, ReloadSpec
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.rules.watching import LONGEST_BURST, MOST_ACTIONS, WINDOW
from tests.unit.engine.desk import Desk, fleet_of, running, settle

pytestmark = pytest.mark.anyio


@dataclass
class Feed:
    """Files that change when the test says so."""

    error: str = ""
    files: int = 3
    waiting: list[str] = field(default_factory=list[str])
    woken: anyio.Event = field(default_factory=anyio.Event)

    def change(self, *paths: str) -> None:
        self.waiting += paths
        self.woken.set()

    def fail(self, error: str) -> None:
        self.error = error
        self.woken.set()

    async def wait(self) -> tuple[str, ...]:
        await self.woken.wait()
        self.woken = anyio.Event()
        taken, self.waiting = tuple(self.waiting), []
        return taken


@dataclass
class Room:
    desk: Desk
    watches: Watches
    feeds: dict[str, Feed]
    opened: list[str]

    async def events(self, kind: str) -> list[Event]:
        return await self.desk.journal.events(EventQuery(limit=1000, kind_prefix=kind))

    def spawns(self, name: str = "web") -> int:
        return self.desk.keeper.slots().count(name)


def one(name: str = "web", **watch: object) -> ServiceSpec:
    given = {"paths": ("src",), "debounce": 0.5, **watch}
    return ServiceSpec.model_validate({"name": name, "argv": ("x",), "cwd": f"/{name}", "watch": given})


@asynccontextmanager
async def a_room(*specs: ServiceSpec, down: dict[str, DownReason] | None = None) -> AsyncGenerator[Room]:
    feeds: dict[str, Feed] = {}
    opened: list[str] = []

    @asynccontextmanager
    async def open_watch(cwd: str, _spec: WatchSpec) -> AsyncGenerator[Feed]:
        feed = feeds[cwd.strip("/")] = Feed()
        opened.append(cwd)
        try:
            yield feed
        finally:
            opened.remove(cwd)

    async with running(fleet_of(*specs), down=down) as desk, anyio.create_task_group() as tasks:
        answer = FileChanges(desk.supervisor, desk.verbs, Teller(desk.supervisor, desk.keeper), desk.clock)
        watches = Watches(
            clock=desk.clock, bus=desk.bus, open_watch=open_watch, act=answer.act, task_group=tasks
        )
        watches.reconcile(desk.supervisor.fleet.services)
        await settle()
        yield Room(desk, watches, feeds, opened)
        tasks.cancel_scope.cancel()


async def test_a_burst_of_changes_is_one_restart_when_it_is_over() -> None:
    async with a_room(one()) as room:
        for path in ("src/b.py", "src/a.py", "src/b.py"):
            room.feeds["web"].change(path)
            await anyio.sleep(0.4)
        assert room.spawns() == 1, "not yet quiet for half a second"
        await anyio.sleep(0.2)
        assert room.spawns() == 2
        assert room.desk.state("web") is State.READY
        (event,) = await room.events("watch.changed")
        assert (event.service, event.message) == ("web", "src/b.py and 1 more changed: restart")
        assert event.data == {"paths": ["src/b.py", "src/a.py"], "count": 2, "action": "restart"}
        (stopping,) = await room.events("service.stopping")
        assert stopping.message == "src/b.py and 1 more changed"


async def test_a_burst_that_does_not_end_is_acted_on_all_the_same() -> None:
    async with a_room(one()) as room:
        for _ in range(int(LONGEST_BURST / 0.3) + 3):
            room.feeds["web"].change("src/a.py")
            await anyio.sleep(0.3)
        assert room.spawns() == 2


async def test_a_service_that_writes_what_it_is_watched_for_is_paused_and_goes_on_later() -> None:
    async with a_room(one()) as room:
        for _ in range(MOST_ACTIONS + 3):
            room.feeds["web"].change("src/a.py")
            await anyio.sleep(1.0)
        assert room.spawns() == 1 + MOST_ACTIONS
        (paused,) = await room.events("watch.paused")
        assert paused.service == "web"
        told = room.watches.report("web")
        assert told is not None
        assert "paused" in str(told["error"])
        await anyio.sleep(WINDOW)
        assert room.spawns() == 2 + MOST_ACTIONS, "what changed meanwhile is one restart"
        assert len(await room.events("watch.resumed")) == 1
        assert (room.watches.report("web") or {})["error"] == ""


async def test_a_service_that_is_wanted_down_stays_down() -> None:
    async with a_room(one(), down={"web": DownReason.OPERATOR}) as room:
        room.feeds["web"].change("src/a.py")
        await anyio.sleep(5.0)
        assert (room.spawns(), await room.events("watch.")) == (0, [])


async def test_a_service_that_has_failed_is_tried_again_when_its_files_change() -> None:
    never = one().model_copy(update={"restart": one().restart.model_copy(update={"policy": "never"})})
    async with a_room(never) as room:
        room.desk.keeper.end(room.desk.run("web"), 1)
        await settle()
        assert room.desk.state("web") is State.FAILED
        room.feeds["web"].change("src/a.py")
        await anyio.sleep(5.0)
        assert room.desk.state("web") is State.READY


async def test_the_action_reload_is_a_signal_and_no_restart() -> None:
    async with a_room(one(action="reload")) as room:
        run = room.desk.run("web")
        room.feeds["web"].change("src/a.py")
        await anyio.sleep(5.0)
        assert ("signal", run, "SIGHUP", "leader") in room.desk.keeper.orders
        assert room.spawns() == 1


async def test_the_action_reload_tells_a_service_in_the_way_that_it_has() -> None:
    usr1 = one(action="reload").model_copy(update={"reload": ReloadSpec(signal="SIGUSR1")})
    by_command = one("api", action="reload").model_copy(
        update={"reload": ReloadSpec(command=HookSpec(argv=("x",)))}
    )
    async with a_room(usr1, by_command) as room:
        run = room.desk.run("web")
        for feed in room.feeds.values():
            feed.change("src/a.py")
        await anyio.sleep(5.0)
        sent = [order for order in room.desk.keeper.orders if order[0] == "signal"]
        assert sent == [("signal", run, "SIGUSR1", "leader")]
        (told,) = [order for order in room.desk.keeper.spawned if order.slot == "probe:api:reload"]
        assert told.argv == ("x",)
        room.desk.keeper.end(told.run, 3)
        await settle()
        (failed,) = await room.events("watch.failed")
        assert (failed.service, "exit code 3" in failed.message) == ("api", True)


async def test_what_cannot_be_watched_is_told_once_and_shown() -> None:
    async with a_room(one()) as room:
        for _ in range(3):
            room.feeds["web"].fail("/web cannot be watched: inotify watch limit reached")
            await settle()
        assert room.watches.report("web") == {
            "paths": ("src",),
            "files": 3,
            "error": "/web cannot be watched: inotify watch limit reached",
        }
        room.feeds["web"].fail("")
        await settle()
        kinds = [(event.kind, event.service) for event in await room.events("watch.")]
        assert kinds == [("watch.failed", "web"), ("watch.recovered", "web")]
        assert room.spawns() == 1


async def test_watches_follow_the_configuration() -> None:
    async with a_room(one("web"), one("api")) as room:
        plain = one("web").model_copy(update={"watch": None})
        room.watches.reconcile({"web": plain, "api": one("api", debounce=1.0), "new": one("new")})
        await settle()
        assert sorted(room.opened) == ["/api", "/new"]
        assert room.watches.report("web") is None
        before = room.feeds["api"]
        room.watches.reconcile({"api": one("api", debounce=1.0), "new": one("new")})
        await settle()
        assert room.feeds["api"] is before, "what is as it was goes on"


def test_changes_are_said_in_one_clause() -> None:
    assert words_of(("a",)) == "a changed"
    assert words_of(("a", "b", "c")) == "a and 2 more changed"
    assert words_of(("",)) == "watched files changed"
