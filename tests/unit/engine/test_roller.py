"""Rolling restarts and scaling over a running fleet, on a virtual clock."""

import anyio
import pytest

from orchestra_supervisor.engine.roller import ROLL_SLOT_PREFIX
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.replicas import ReplicaSpec
from orchestra_supervisor.model.spec import DependencySpec, Fleet, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.orders import HeldRun, Snapshot, SpawnOrder, slot_of
from orchestra_supervisor.rules.inputs import Spawned
from orchestra_supervisor.rules.reload import Action
from tests.unit.engine.desk import Desk, FakeKeeper, replicas_of, running, settle

pytestmark = pytest.mark.anyio

NOTE = f"{ROLL_SLOT_PREFIX}web"


def slots(desk: Desk, verb: str) -> list[str]:
    return [slot_of(run) for run in desk.keeper.of(verb)]


async def rolls(desk: Desk) -> list[Event]:
    return await desk.journal.events(EventQuery(limit=1000, kind_prefix="roll."))


async def over(desk: Desk) -> None:
    with anyio.fail_after(1000):
        await desk.supervisor.roller.wait_over(["web"])
    await settle()


async def test_replicas_are_restarted_one_after_the_other() -> None:
    async with running(replicas_of("web", 3)) as desk:
        await anyio.sleep(5)
        assert desk.verbs.roll(["web@3", "web@1", "web@2"], "rolling restart", 1) == ["web"]
        began = anyio.current_time()
        await settle()
        assert slots(desk, "stop") == ["web@1"], "the others wait"
        await over(desk)
        assert slots(desk, "stop") == ["web@1", "web@2", "web@3"]
        assert desk.keeper.slots()[3:] == ["web@1", "web@2", "web@3"]
        assert anyio.current_time() - began == pytest.approx(3.0), "a second each: they show nothing else"
        assert [event.kind for event in await rolls(desk)] == ["roll.started", "roll.done"]
        assert NOTE not in desk.keeper.notes


async def test_a_second_roll_of_one_name_is_refused_and_one_of_another_is_not() -> None:
    fleet = replicas_of("web", 2)
    other = replicas_of("api", 2)
    both = Fleet(services=fleet.services | other.services, groups=fleet.groups | other.groups)
    async with running(both) as desk:
        await anyio.sleep(5)
        desk.verbs.roll(["web@1", "web@2"], "rolling restart", 1)
        with pytest.raises(ConflictError, match="a rolling restart of web goes on: 0 of 2") as caught:
            desk.verbs.roll(["web@2"], "rolling restart", 1)
        assert caught.value.hint
        assert desk.verbs.roll(["api@1", "api@2"], "rolling restart", 2) == ["api"]


def refuses_second_runs(keeper: FakeKeeper, name: str) -> None:
    """Let every run of a service after its first one end at once."""

    def spawn(order: SpawnOrder) -> None:
        keeper.begin(order.run)
        if order.slot == name and keeper.slots().count(name) > 1:
            keeper.end(order.run, 3)

    keeper.on_spawn = spawn


async def test_a_roll_stops_at_one_that_fails_and_leaves_the_rest() -> None:
    keeper = FakeKeeper()
    refuses_second_runs(keeper, "web@2")
    async with running(replicas_of("web", 3, restart={"policy": "never"}), keeper=keeper) as desk:
        await anyio.sleep(5)
        desk.verbs.roll(["web@1", "web@2", "web@3"], "rolling restart", 1)
        await over(desk)
        assert slots(desk, "stop") == ["web@1", "web@2"]
        assert desk.state("web@3") is State.READY
        stopped = (await rolls(desk))[-1]
        assert (stopped.kind, stopped.service) == ("roll.stopped", "web")
        assert stopped.message == "rolling restart stopped at web@2: exit code 3; left as they are: web@3"


async def test_a_fleet_that_goes_down_rolls_nobody_any_more() -> None:
    async with running(replicas_of("web", 3)) as desk:
        await anyio.sleep(5)
        desk.verbs.roll(["web@1", "web@2", "web@3"], "rolling restart", 1)
        await settle()
        desk.supervisor.shutdown("night")
        await settle()
        assert desk.keeper.slots()[3:] in ([], ["web@1"])
        assert desk.supervisor.phase == "down"


# Updates.

OLD = replicas_of("web", 3, "rolling", argv=("old",), restart={"policy": "never"})
NEW = replicas_of("web", 3, "rolling", argv=("new",), restart={"policy": "never"})


def reload(desk: Desk, fleet: Fleet) -> tuple[str, ...]:
    done = desk.verbs.reload(desk.verbs.stage(fleet), {})
    desk.supervisor.decide()
    return done.rolling


def commands(desk: Desk) -> list[str]:
    """Return what runs, by number."""
    return [
        next(order.argv[0] for order in reversed(desk.keeper.spawned) if order.slot == name)
        for name in desk.supervisor.services
    ]


async def test_a_rolling_update_reaches_one_replica_after_the_other_and_is_kept_at_its_end() -> None:
    async with running(OLD) as desk:
        await anyio.sleep(5)
        assert reload(desk, NEW) == ("web",)
        await settle()
        assert commands(desk) == ["new", "old", "old"]
        assert desk.supervisor.roller.written(desk.supervisor.fleet).services == OLD.services
        await over(desk)
        assert commands(desk) == ["new", "new", "new"]
        assert desk.supervisor.fleet == NEW
        assert desk.kept == [NEW]
        assert reload(desk, NEW) == ()


async def test_one_that_does_not_hold_goes_back_and_the_rest_stay_on_what_they_run() -> None:
    keeper = FakeKeeper()

    def spawn(order: SpawnOrder) -> None:
        keeper.begin(order.run)
        if (order.slot, order.argv[0]) == ("web@2", "new"):
            keeper.end(order.run, 3)

    keeper.on_spawn = spawn
    async with running(OLD, keeper=keeper) as desk:
        await anyio.sleep(5)
        reload(desk, NEW)
        await over(desk)
        assert commands(desk) == ["new", "old", "old"]
        assert desk.state("web@2") is State.READY
        (kept,) = desk.kept
        assert kept == desk.supervisor.fleet
        assert [spec.argv[0] for spec in kept.services.values()] == ["new", "old", "old"]
        assert kept.coming == {}
        report = desk.supervisor.roller.report("web")
        assert report
        assert (report["state"], report["failed"], report["done"]) == ("stopped", "web@2", ["web@1"])
        assert "web@2 goes back to what it ran before; left as they are: web@3" in str(report["message"])
        keeper.on_spawn = None
        assert reload(desk, NEW) == ("web",), "the next reload tries again"
        await over(desk)
        assert commands(desk) == ["new", "new", "new"]


async def test_another_configuration_in_the_middle_takes_the_place_of_the_first() -> None:
    async with running(OLD) as desk:
        await anyio.sleep(5)
        reload(desk, NEW)
        await settle()
        third = replicas_of("web", 3, "rolling", argv=("third",), restart={"policy": "never"})
        assert reload(desk, third) == ("web",)
        await over(desk)
        assert commands(desk) == ["third", "third", "third"]
        assert desk.kept == [third]


async def test_the_same_configuration_in_the_middle_changes_nothing() -> None:
    async with running(OLD) as desk:
        await anyio.sleep(5)
        reload(desk, NEW)
        await settle()
        assert reload(desk, NEW) == ("web",)
        await over(desk)
        assert desk.keeper.slots()[3:] == ["web@1", "web@2", "web@3"]
        assert [event.kind for event in await rolls(desk)] == ["roll.started", "roll.done"]


# The next daemon.


def snapshot_of(desk: Desk) -> Snapshot:
    """Return what the keeper holds, as though the daemon died now."""
    held: list[HeldRun] = []
    for service in desk.supervisor.services.values():
        run = service.run
        if run is not None:
            stopping = run.id in desk.keeper.of("stop")
            told = (Spawned(run.id, run.pid or 1, run.ordered_mono, 0.0),)
            held.append(HeldRun(run.id, service.spec.name, stopping, told))
    return desk.keeper.snapshot(held)


@pytest.mark.parametrize("steps", range(4))
async def test_the_next_daemon_goes_on_with_an_update_where_the_last_one_was(steps: int) -> None:
    fleet = OLD
    async with running(OLD) as desk:
        await anyio.sleep(5)
        staged = desk.verbs.stage(NEW)
        fleet = desk.supervisor.roller.written(staged)
        desk.verbs.reload(staged, {})
        if steps:
            desk.supervisor.decide()
            await settle()
            await anyio.sleep(0.5 + steps - 1)
        snapshot = snapshot_of(desk)
        notes = dict(desk.keeper.notes)
    keeper = FakeKeeper(notes=notes)
    async with running(fleet, keeper=keeper, snapshot=snapshot) as desk:
        await over(desk)
        assert [spec.argv[0] for spec in desk.supervisor.fleet.services.values()] == ["new"] * 3
        assert desk.supervisor.fleet.coming == {}
        left = ["web@1", "web@2", "web@3"][max(steps, 1) - (0 if steps else 1) :]
        assert keeper.slots() == left, "those that had their turn have it no second time"
        assert desk.kept[-1] == NEW


async def test_an_update_whose_note_was_never_left_begins_with_the_next_daemon() -> None:
    async with running(OLD) as desk:
        await anyio.sleep(5)
        fleet = desk.supervisor.roller.written(desk.verbs.stage(NEW))
        snapshot = snapshot_of(desk)
        notes = dict(desk.keeper.notes)
    keeper = FakeKeeper(notes=notes)
    async with running(fleet, keeper=keeper, snapshot=snapshot) as desk:
        await settle()
        assert keeper.slots() == ["web@1"]
        await over(desk)
        assert keeper.slots() == ["web@1", "web@2", "web@3"]


async def test_a_roll_that_cannot_be_kept_on_disk_is_known_to_the_next_daemon_by_its_note() -> None:
    async with running(OLD) as desk:
        await anyio.sleep(5)

        def full(_: Fleet) -> None:
            raise ConflictError("fleet.json cannot be written: no space left", hint="free space")

        desk.supervisor.roller._keep = full
        staged = desk.verbs.stage(NEW)
        fleet = desk.supervisor.roller.written(staged)
        desk.verbs.reload(staged, {})
        desk.supervisor.decide()
        await over(desk)
        assert [event.kind for event in await rolls(desk)] == ["roll.started", "roll.unwritable", "roll.done"]
        snapshot = snapshot_of(desk)
        notes = dict(desk.keeper.notes)
    keeper = FakeKeeper(notes=notes)
    async with running(fleet, keeper=keeper, snapshot=snapshot) as desk:
        await over(desk)
        assert keeper.slots() == [], "nobody is restarted for it"
        assert desk.kept == [NEW]
        assert NOTE not in keeper.notes


# Scale.


async def test_more_replicas_come_and_the_others_are_left_alone() -> None:
    async with running(replicas_of("web", 2)) as desk:
        done = await desk.rescale({"web": 4})
        await settle()
        assert done.names(Action.ADD) == ("web@3", "web@4")
        assert desk.keeper.slots() == ["web@1", "web@2", "web@3", "web@4"]
        assert slots(desk, "stop") == []
        assert {one.spec.replica.count for one in desk.supervisor.services.values() if one.spec.replica} == {
            4
        }


async def test_fewer_replicas_the_highest_numbers_go_and_dependents_before_them() -> None:
    def pairs(count: int) -> Fleet:
        web = replicas_of("web", count)
        jobs = {
            f"job@{number}": ServiceSpec(
                name=f"job@{number}",
                argv=("x",),
                cwd="/",
                depends_on={f"web@{number}": DependencySpec()},
                replica=ReplicaSpec(group="job", number=number, count=count),
            )
            for number in range(1, count + 1)
        }
        return web.model_copy(update={"services": web.services | jobs})

    async with running(pairs(3)) as desk:
        done = desk.verbs.reload(pairs(1), {})
        desk.supervisor.decide()
        await settle()
        assert set(done.names(Action.REMOVE)) == {"web@2", "web@3", "job@2", "job@3"}
        assert slots(desk, "stop") == ["job@3", "job@2", "web@3", "web@2"]
        assert desk.state("job@1") is State.READY


async def test_nobody_who_needs_all_replicas_notices_that_one_goes() -> None:
    def both(count: int) -> Fleet:
        web = replicas_of("web", count)
        needs = {name: DependencySpec(on_failure="stop") for name in web.services}
        api = ServiceSpec(name="api", argv=("x",), cwd="/", depends_on=needs)
        return web.model_copy(update={"services": web.services | {"api": api}})

    async with running(both(2)) as desk:
        desk.verbs.reload(both(1), {})
        desk.supervisor.decide()
        await settle()
        assert slots(desk, "stop") == ["web@2"]
        assert desk.state("api") is State.READY
