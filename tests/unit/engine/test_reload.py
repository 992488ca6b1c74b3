"""Reloads of a running fleet: one at a time, and all or nothing."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.config.load import LoadResult, Sources
from orchestra_supervisor.config.plan import PlanReport
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.reload import Files, Reloader
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.equipment import LimitsSpec
from orchestra_supervisor.model.errors import ConfigError, ConflictError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import DependencySpec, Fleet, FleetSettings, LogSpec, ServiceSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.process.orders import HeldRun, LogTarget, Snapshot
from orchestra_supervisor.rules.inputs import Spawned
from orchestra_supervisor.rules.reload import Action
from tests.unit.engine.desk import Desk, FakeKeeper, fleet_of, replicas_of, running, scaled, settle

pytestmark = pytest.mark.anyio


def one(name: str, **fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": name, "argv": ("x",), "cwd": "/", **fields})


@dataclass
class Disk:
    """The files: what they say, how long reading takes, and what was written."""

    fleet: Fleet
    takes: float = 0.0
    error: ConfigError | None = None
    full: bool = False
    applied: list[Fleet] = field(default_factory=list[Fleet])

    async def load(self, _paths: tuple[Path, ...], live: Mapping[str, GroupSpec]) -> LoadResult:
        fleet, error = self.fleet, self.error  # read now, whatever is written while it is thought about
        fleet = scaled(fleet, {name: group.count for name, group in live.items() if name in fleet.groups})
        await anyio.sleep(self.takes)
        if error is not None:
            raise error
        return LoadResult(fleet, (), Sources())

    def apply(self, fleet: Fleet) -> None:
        if self.full:
            raise ConflictError("fleet.json cannot be written: No space left on device")
        self.applied.append(fleet)

    def down(self, fleet: Fleet) -> dict[str, DownReason]:
        return {name: DownReason.DISABLED for name, spec in fleet.services.items() if not spec.enabled}


async def no_plugins(settings: FleetSettings) -> None:
    """The fleets here have none."""


@dataclass
class Room:
    desk: Desk
    disk: Disk
    reloader: Reloader

    async def events(self, kind: str) -> list[Event]:
        return await self.desk.journal.events(EventQuery(limit=100, kind_prefix=kind))


@asynccontextmanager
async def a_room(
    *specs: ServiceSpec,
    keeper: FakeKeeper | None = None,
    snapshot: Snapshot | None = None,
    fleet: Fleet | None = None,
) -> AsyncGenerator[Room]:
    fleet = fleet or fleet_of(*specs)
    disk = Disk(fleet)
    async with running(fleet, keeper=keeper, snapshot=snapshot) as desk:
        launcher = Launcher(home=Path("/h"), log_directory=Path("/logs"), environ={})
        files = Files(disk.load, disk.apply, lambda _: None, disk.down, launcher, lambda: None, no_plugins)
        reloader = Reloader(
            supervisor=desk.supervisor, verbs=desk.verbs, keeper=desk.keeper, bus=desk.bus, files=files
        )
        yield Room(desk, disk, reloader)


async def test_a_plan_changes_nothing_and_the_reload_after_it_does_what_it_said() -> None:
    async with a_room(one("web"), one("same")) as room:
        room.disk.fleet = fleet_of(one("web", env={"A": "1"}), one("same"))
        orders = list(room.desk.keeper.orders)
        plan = await room.reloader.plan()
        await settle()
        assert (room.desk.keeper.orders, room.disk.applied) == (orders, [])
        assert plan == await room.reloader.reload("olga")
        await settle()
        assert room.desk.keeper.slots().count("web") == 2
        assert room.desk.supervisor.services["web"].spec.env == {"A": "1"}
        (event,) = await room.events("config.")
        assert (event.kind, event.message) == ("config.reloaded", "1 restarted")
        assert event.data["by"] == "olga"
        assert event.data["changes"] == {"web": {"action": "restart", "fields": ["env.A"]}}
        assert (await room.reloader.plan()).is_empty


async def test_a_restart_by_a_reload_says_what_changed() -> None:
    async with a_room(one("web")) as room:
        room.disk.fleet = fleet_of(one("web", env={"A": "1"}, cwd="/tmp"))
        await room.reloader.reload("olga")
        await settle()
        stops = await room.events("service.stopping")
        assert [event.message for event in stops] == ["its configuration changed: cwd, env.A"]


async def test_a_bad_file_changes_nothing_and_is_told_with_its_place() -> None:
    async with a_room(one("web")) as room:
        room.disk.error = ConfigError("orchestra.json:3: no such key", path="orchestra.json", line=3)
        orders = list(room.desk.keeper.orders)
        for ask in (room.reloader.plan(), room.reloader.reload("olga")):
            with pytest.raises(ConfigError, match=r"orchestra\.json:3"):
                await ask
        await settle()
        assert (room.desk.keeper.orders, room.disk.applied) == (orders, [])
        (event,) = await room.events("config.")
        assert (event.kind, event.data["by"]) == ("config.refused", "olga")
        assert "orchestra.json:3" in event.message


async def test_a_full_disk_changes_nothing() -> None:
    async with a_room(one("web")) as room:
        room.disk.fleet, room.disk.full = fleet_of(one("other")), True
        orders = list(room.desk.keeper.orders)
        with pytest.raises(ConflictError, match="No space left"):
            await room.reloader.reload("olga")
        await settle()
        assert room.desk.keeper.orders == orders
        assert list(room.desk.supervisor.services) == ["web"]


async def test_a_fleet_that_goes_down_is_not_changed_on_the_disk_either() -> None:
    async with a_room(one("web"), keeper=FakeKeeper(obeys=False)) as room:
        room.desk.supervisor.shutdown("night")
        with pytest.raises(ConflictError, match="going down"):
            await room.reloader.reload("olga")
        assert room.disk.applied == []


async def test_of_two_reloads_at_once_the_one_that_read_last_is_applied_last() -> None:
    async with a_room(one("web")) as room, anyio.create_task_group() as tasks:
        room.disk.fleet, room.disk.takes = fleet_of(one("web", env={"A": "old"})), 5.0
        tasks.start_soon(room.reloader.reload, "slow")
        await anyio.sleep(1.0)
        room.disk.fleet, room.disk.takes = fleet_of(one("web", env={"A": "new"})), 0.0
        tasks.start_soon(room.reloader.reload, "quick")
        await anyio.sleep(10.0)
        assert [fleet.services["web"].env["A"] for fleet in room.disk.applied] == ["old", "new"]
        assert room.desk.supervisor.services["web"].spec.env == {"A": "new"}
        assert [event.data["by"] for event in await room.events("config.")] == ["slow", "quick"]
        assert room.desk.state("web") is State.READY


async def test_a_reload_that_waits_for_a_removed_service_keeps_no_other_from_being_carried_out() -> None:
    keeper = FakeKeeper(obeys=False)
    async with a_room(one("goes"), one("web"), keeper=keeper) as room, anyio.create_task_group() as tasks:
        run = room.desk.run("goes")
        room.disk.fleet = fleet_of(one("web"))
        tasks.start_soon(room.reloader.reload, "first")
        await settle()
        room.disk.fleet = fleet_of(one("web"), one("comes"))
        await room.reloader.reload("second")
        await settle()
        assert room.desk.state("comes") is State.READY
        assert room.desk.state("goes") is State.STOPPING
        keeper.end(run)
        await settle()
        assert set(room.desk.supervisor.services) == {"web", "comes"}


async def test_an_order_given_just_before_a_reload_is_seen_by_it() -> None:
    async with a_room(one("web")) as room:
        room.disk.fleet = fleet_of(one("web", env={"A": "1"}))
        room.desk.verbs.stop(["web"], "by hand", with_dependents=False)
        report = await room.reloader.reload("olga")
        await settle()
        assert [(note.name, note.action) for note in report.services] == [("web", "later")]
        assert room.desk.state("web") is State.STOPPED


async def test_services_that_start_and_stop_during_a_reload_end_where_they_are_wanted() -> None:
    keeper = FakeKeeper(begins=False, obeys=False)
    async with a_room(one("starting"), one("stopping"), keeper=keeper) as room:
        keeper.begin(room.desk.run("stopping"))
        await settle()
        old = {name: room.desk.run(name) for name in ("starting", "stopping")}
        room.desk.verbs.restart(["stopping"], "by hand", with_dependents=False)
        await settle()
        room.disk.fleet = fleet_of(one("starting", env={"A": "1"}), one("stopping", env={"A": "1"}))
        await room.reloader.reload("olga")
        await settle()
        assert keeper.slots() == ["starting", "stopping"], "no run beside another"
        keeper.begins = True
        for run in old.values():
            keeper.end(run)
        await settle()
        assert [room.desk.state(name) for name in old] == [State.READY, State.READY]
        assert [order.env["A"] for order in keeper.spawned[2:]] == ["1", "1"]


async def test_what_waits_for_the_next_up_is_kept_as_it_is() -> None:
    async with a_room(one("web")) as room:
        asked = {"log_directory": "/new", "remember_stops": True}
        settings = room.disk.fleet.settings.model_copy(update=asked)
        room.disk.fleet = room.disk.fleet.model_copy(update={"settings": settings})
        report = await room.reloader.reload("olga")
        assert [(note.field, note.when) for note in report.settings] == [
            ("log_directory", "next_up"),
            ("remember_stops", "live"),
        ]
        assert room.disk.applied[-1].settings.log_directory is None
        assert room.desk.supervisor.fleet.settings.remember_stops is True
        again = await room.reloader.plan()
        assert [note.field for note in again.settings] == ["log_directory"], "it still waits"
        assert again.is_empty, "and no reload will change that"


async def test_another_rotation_is_told_to_the_logger() -> None:
    async with a_room(one("web"), one("same")) as room:
        room.disk.fleet = fleet_of(one("web", log={"backups": 9}), one("same"))
        await room.reloader.reload("olga")
        told = [order for order in room.desk.keeper.orders if order[0] == "log_config"]
        assert told == [("log_config", LogTarget("/logs/web.log", LogSpec(backups=9)))]


async def test_another_bound_for_all_logs_is_told_for_each_of_them() -> None:
    async with a_room(one("web"), one("same")) as room:
        fleet = fleet_of(one("web"), one("same"))
        settings = fleet.settings.model_copy(update={"log_keep_bytes": 1000})
        room.disk.fleet = fleet.model_copy(update={"settings": settings})
        await room.reloader.reload("olga")
        told = [order[1] for order in room.desk.keeper.orders if order[0] == "log_config"]
        assert [(one.path, one.directory_keep_bytes) for one in told] == [
            ("/logs/web.log", 1000),
            ("/logs/same.log", 1000),
        ]


async def test_other_limits_are_laid_on_the_run_that_goes_on() -> None:
    async with a_room(one("web"), one("same")) as room:
        run = room.desk.run("web")
        room.disk.fleet = fleet_of(one("web", limits={"pids": 9}), one("same"))
        await room.reloader.reload("olga")
        told = [order for order in room.desk.keeper.orders if order[0] == "limits"]
        assert told == [("limits", run, LimitsSpec(pids=9))]
        assert room.desk.run("web") == run


async def test_services_removed_together_stop_from_above() -> None:
    web = one("web", depends_on={"db": {}})
    async with a_room(web, one("db"), one("stays")) as room:
        room.disk.fleet = fleet_of(one("stays"))
        await room.reloader.reload("olga")
        await settle()
        assert [run.rsplit("-", 1)[0] for run in room.desk.keeper.of("stop")] == ["web", "db"]


async def test_a_service_comes_back_when_the_run_that_an_earlier_daemon_left_is_gone() -> None:
    keeper = FakeKeeper(obeys=False)
    left = HeldRun("web-000000000001", "web", True, (Spawned("web-000000000001", 7, 0.0, 0.0),))
    async with (
        a_room(one("same"), keeper=keeper, snapshot=keeper.snapshot([left])) as room,
        anyio.create_task_group(),
    ):
        room.disk.fleet = fleet_of(one("same"), one("web"))
        await room.reloader.reload("olga")
        await settle()
        assert ("web" in keeper.slots(), room.desk.state("web")) == (False, State.STOPPING)
        keeper.end(left.run)
        await settle()
        assert (keeper.slots().count("web"), room.desk.state("web")) == (1, State.READY)


# Replicas.


def three(update: str = "rolling", **fields: object) -> Fleet:
    return replicas_of("web", 3, update, **fields)


async def test_a_plan_says_who_gets_a_new_configuration_in_turn_and_the_reload_does_it() -> None:
    async with a_room(fleet=three(argv=("old",))) as room:
        room.disk.fleet = three(argv=("new",))
        plan = await room.reloader.plan()
        assert [(note.name, note.action) for note in plan.services] == [
            ("web@1", "roll"),
            ("web@2", "roll"),
            ("web@3", "roll"),
        ]
        assert [(field.field, field.old, field.new) for field in plan.services[0].fields] == [
            ("argv", "old", "new")
        ]
        assert (plan.rolling, plan.unchanged, plan.summary) == (("web",), 0, "3 restarted in turn")
        assert room.desk.keeper.slots() == ["web@1", "web@2", "web@3"], "a plan begins nothing"
        assert plan == await room.reloader.reload("olga")
        with anyio.fail_after(60):
            await room.desk.supervisor.roller.wait_over(plan.rolling)
        await settle()
        assert [order.argv for order in room.desk.keeper.spawned[3:]] == [("new",)] * 3
        assert (await room.reloader.plan()).is_empty


async def test_a_reload_in_the_middle_of_a_roll_towards_the_same_is_nothing_to_do() -> None:
    keeper = FakeKeeper(obeys=False)
    async with a_room(fleet=three(argv=("old",)), keeper=keeper) as room:
        room.disk.fleet = three(argv=("new",))
        await room.reloader.reload("olga")
        await settle()
        again = await room.reloader.reload("oskar")
        assert (again.is_empty, again.unchanged, again.rolling) == (True, 3, ("web",))
        assert [event.message for event in await room.events("roll.")] == [
            "rolling update: web@1, web@2, web@3, 1 at a time"
        ]


async def test_what_replicas_fall_back_to_is_what_is_kept_until_the_roll_is_over() -> None:
    async with a_room(fleet=three(argv=("old",))) as room:
        room.disk.fleet = three(argv=("new",))
        await room.reloader.reload("olga")
        (kept,) = room.disk.applied
        assert {spec.argv for spec in kept.services.values()} == {("old",)}
        assert {spec.argv for spec in kept.coming.values()} == {("new",)}


async def test_a_scale_changes_numbers_and_no_setting_and_is_seen_by_the_next_plan() -> None:
    async with a_room(fleet=three()) as room:
        settings = room.disk.fleet.settings.model_copy(update={"remember_stops": True})
        room.disk.fleet = room.disk.fleet.model_copy(update={"settings": settings})
        plan = await room.reloader.rescale({"web": 4})
        await settle()
        assert plan.names(Action.ADD) == ("web@4",)
        assert room.desk.keeper.slots() == ["web@1", "web@2", "web@3", "web@4"]
        assert room.disk.applied[-1].settings.remember_stops is False
        assert await room.events("config.") == []
        report = await room.reloader.plan()
        assert [note.name for note in report.services] == [], "the live number holds"
        assert [note.field for note in report.settings] == ["remember_stops"]


async def test_a_scale_beside_a_change_of_the_files_changes_nothing() -> None:
    async with a_room(fleet=three(argv=("old",))) as room:
        room.disk.fleet = three(argv=("new",))
        with pytest.raises(ConflictError, match="have changed since they were applied"):
            await room.reloader.rescale({"web": 4})
        assert room.disk.applied == []


async def test_a_scale_during_a_reload_comes_after_it_and_is_not_undone_by_it() -> None:
    async with a_room(fleet=three()) as room, anyio.create_task_group() as tasks:
        room.disk.takes = 5.0
        tasks.start_soon(room.reloader.reload, "slow")
        await anyio.sleep(1.0)
        tasks.start_soon(room.reloader.rescale, {"web": 1})
        await anyio.sleep(20.0)
        assert [len(fleet.services) for fleet in room.disk.applied] == [3, 1]
        assert list(room.desk.supervisor.fleet.services) == ["web@1"]


async def test_a_plan_that_was_read_with_other_numbers_is_read_again() -> None:
    async with a_room(fleet=three()) as room, anyio.create_task_group() as tasks:
        plans: list[PlanReport] = []

        async def plan() -> None:
            plans.append(await room.reloader.plan())

        room.disk.takes = 5.0
        tasks.start_soon(plan)
        await anyio.sleep(1.0)
        room.disk.takes = 0.0
        await room.reloader.rescale({"web": 4})
        await anyio.sleep(20.0)
        assert [report.is_empty for report in plans] == [True]


async def test_a_scale_during_a_rolling_update_is_refused() -> None:
    async with a_room(fleet=three(argv=("old",)), keeper=FakeKeeper(obeys=False)) as room:
        room.disk.fleet = three(argv=("new",))
        await room.reloader.reload("olga")
        with pytest.raises(ConflictError, match="changed otherwise"):
            await room.reloader.rescale({"web": 4})


async def test_who_waits_for_a_dependent_goes_on_when_a_reload_has_let_that_begin_again() -> None:
    keeper = FakeKeeper(obeys=False)
    above = one("above", depends_on={"below": DependencySpec()})
    async with running(fleet_of(one("below"), above), keeper=keeper) as desk:
        await settle()
        runs = {name: desk.run(name) for name in ("below", "above")}
        desk.verbs.restart(["below", "above"], "by hand", with_dependents=True)
        await settle()
        assert keeper.of("stop") == [runs["above"]]
        desk.verbs.reload(fleet_of(one("below"), one("above")), {})
        await settle()
        assert keeper.of("stop") == [runs["above"]], "that run of it still needs the other"
        keeper.end(runs["above"])
        await settle()
        assert desk.supervisor.services["above"].state is State.READY
        assert keeper.of("stop") == [runs["above"], runs["below"]]
        keeper.end(runs["below"])
        await settle()
        assert desk.supervisor.services["below"].state is State.READY
        for name in ("below", "above"):
            keeper.end(desk.run(name))
