"""The verbs over a running fleet: who is concerned, in which order, and what a reload does."""

import anyio
import pytest

from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.spec import Fleet, ServiceSpec, StopSpec, StopStep
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.process.orders import (
    HeldRun,
    LoggerNews,
    RoleNews,
    ShutdownAsked,
    SpawnOrder,
)
from orchestra_supervisor.rules.inputs import Exited, Gone, Spawned
from orchestra_supervisor.rules.reload import Action
from tests.unit.engine.desk import Desk, FakeKeeper, fleet_of, running, settle

pytestmark = pytest.mark.anyio


def one(name: str, *needs: str, **fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate(
        {"name": name, "argv": ("x",), "cwd": "/", "depends_on": {need: {} for need in needs}, **fields}
    )


CHAIN = fleet_of(one("web", "api"), one("api", "db"), one("db"))


def slot_order(desk: Desk, verb: str) -> list[str]:
    return [run.rsplit("-", 1)[0] for run in desk.keeper.of(verb)]


async def apply(desk: Desk, fleet: Fleet, down: dict[str, DownReason] | None = None) -> None:
    done = desk.verbs.reload(fleet, down or {})
    desk.supervisor.decide()
    await desk.verbs.forget_removed(done.names(Action.REMOVE))
    await settle()


async def test_a_fleet_starts_dependencies_first_and_says_when_it_is_ready() -> None:
    async with running(CHAIN) as desk:
        assert desk.keeper.slots() == ["db", "api", "web"]
        events = [event for event in await desk.journal.events(_all()) if event.kind.startswith("fleet.")]
        assert [(event.kind, event.message) for event in events] == [
            ("fleet.ready", "3 of 3 services are ready")
        ]
        assert desk.supervisor.phase == "running"
        assert desk.keeper.notes["fleet:"] == "running"


def _all() -> EventQuery:
    return EventQuery(limit=10_000)


async def test_a_stop_with_dependents_stops_them_first() -> None:
    async with running(CHAIN) as desk:
        assert desk.verbs.stop(["db"], "by hand", with_dependents=True) == ["web", "api", "db"]
        await settle()
        assert slot_order(desk, "stop") == ["web", "api", "db"]
        assert {desk.state(name) for name in CHAIN.services} == {State.STOPPED}


async def test_a_stop_without_dependents_stops_the_one() -> None:
    async with running(CHAIN) as desk:
        assert desk.verbs.stop(["db"], "by hand", with_dependents=False) == ["db"]
        await settle()
        assert slot_order(desk, "stop") == ["db"]
        assert desk.state("web") is State.READY


async def test_a_start_takes_along_the_dependencies_that_are_down() -> None:
    down = dict.fromkeys(CHAIN.services, DownReason.OPERATOR)
    async with running(CHAIN, down=down) as desk:
        assert desk.keeper.spawned == []
        assert desk.verbs.start(["api"], "by hand") == ["db", "api"]
        await settle()
        assert desk.keeper.slots() == ["db", "api"]
        assert desk.state("web") is State.STOPPED


async def test_a_restart_with_dependents_stops_from_above_and_starts_from_below() -> None:
    async with running(CHAIN) as desk:
        desk.keeper.spawned.clear()
        assert desk.verbs.restart(["db"], "by hand", with_dependents=True) == ["db", "api", "web"]
        await settle()
        assert slot_order(desk, "stop") == ["web", "api", "db"]
        assert desk.keeper.slots() == ["db", "api", "web"]


async def test_a_restart_leaves_dependents_that_are_down_where_they_are() -> None:
    async with running(CHAIN, down={"web": DownReason.OPERATOR}) as desk:
        assert desk.verbs.restart(["db"], "by hand", with_dependents=True) == ["db", "api"]
        await settle()
        assert desk.state("web") is State.STOPPED


async def test_a_shutdown_stops_from_above_quits_and_takes_no_more_orders() -> None:
    async with running(CHAIN) as desk:
        desk.keeper.tell(ShutdownAsked(hurry=False))
        await settle()
        assert slot_order(desk, "stop") == ["web", "api", "db"]
        assert ("quit", 0) in desk.keeper.orders
        assert desk.supervisor.phase == "down"
        for verb in (desk.verbs.start, desk.verbs.stop, desk.verbs.restart):
            with pytest.raises(ConflictError, match="going down"):
                verb(["db"], "too late", **({} if verb == desk.verbs.start else {"with_dependents": False}))


async def test_a_required_service_that_cannot_start_takes_the_fleet_down_with_status_one() -> None:
    keeper = FakeKeeper()

    def refuse(order: SpawnOrder) -> None:
        if order.slot == "db":
            keeper.refuse(order.run, "exec", "No such file: x")
        else:
            keeper.begin(order.run)

    keeper.on_spawn = refuse
    fleet = fleet_of(one("other"), one("db", required_for_system=True, restart={"policy": "never"}))
    async with running(fleet, keeper=keeper) as desk:
        assert ("quit", 1) in keeper.orders
        kinds = [event.kind for event in await desk.journal.events(_all())]
        assert kinds.index("fleet.failed") < kinds.index("daemon.stopping") < kinds.index("fleet.stopped")


async def test_the_exit_status_of_a_failed_fleet_outlives_the_daemon() -> None:
    keeper = FakeKeeper()
    keeper.notes["fleet:"] = {"exit": 1}
    async with running(fleet_of(one("db")), keeper=keeper, snapshot=keeper.snapshot(shutdown=True)):
        assert ("quit", 1) in keeper.orders


async def test_a_reload_touches_only_what_changed() -> None:
    old = fleet_of(one("same"), one("live"), one("new-run"), one("goes"))
    new = fleet_of(
        one("same"),
        one("live", title="another"),
        one("new-run", env={"A": "1"}),
        one("comes"),
        one("off", enabled=False),
    )
    async with running(old) as desk:
        before = {name: desk.run(name) for name in old.services}
        done = desk.verbs.reload(new, {"off": DownReason.DISABLED})
        desk.supervisor.decide()
        await desk.verbs.forget_removed(done.names(Action.REMOVE))
        await settle()
        assert (done.names(Action.ADD), done.names(Action.REMOVE)) == (("comes", "off"), ("goes",))
        assert (done.names(Action.RESTART), done.names(Action.LIVE), done.unchanged) == (
            ("new-run",),
            ("live",),
            1,
        )
        assert (desk.run("same"), desk.run("live")) == (before["same"], before["live"])
        assert desk.run("new-run") != before["new-run"]
        assert desk.supervisor.services["live"].spec.title == "another"
        assert desk.keeper.spawned[-1].env.get("A") == "1" or desk.keeper.spawned[-2].env.get("A") == "1"
        assert "goes" not in desk.supervisor.services
        assert "goes" not in desk.keeper.notes
        assert (desk.state("comes"), desk.state("off")) == (State.READY, State.STOPPED)


async def test_a_stop_goes_by_the_sequence_that_is_configured_now() -> None:
    async with running(fleet_of(one("web"))) as desk:
        run = desk.run("web")
        await apply(desk, fleet_of(one("web", stop={"steps": [{"signal": "SIGINT", "wait": 1}]})))
        assert desk.run("web") == run
        desk.verbs.stop(["web"], "by hand", with_dependents=False)
        await settle()
        asked = StopSpec(steps=(StopStep(signal="SIGINT", wait=1.0),))
        assert [order for order in desk.keeper.orders if order[0] == "stop"] == [("stop", run, asked)]


async def test_a_service_disabled_by_a_reload_stops_and_enabled_again_starts() -> None:
    async with running(fleet_of(one("web"))) as desk:
        await apply(desk, fleet_of(one("web", enabled=False)), {"web": DownReason.DISABLED})
        service = desk.supervisor.services["web"]
        assert (service.state, service.down_reason) == (State.STOPPED, DownReason.DISABLED)
        await apply(desk, fleet_of(one("web")))
        assert desk.state("web") is State.READY


async def test_a_service_stopped_by_hand_is_not_started_by_a_reload() -> None:
    async with running(fleet_of(one("web"))) as desk:
        desk.verbs.stop(["web"], "by hand", with_dependents=False)
        await settle()
        await apply(desk, fleet_of(one("web", env={"A": "1"})))
        assert desk.state("web") is State.STOPPED
        assert desk.supervisor.services["web"].spec.env == {"A": "1"}


async def test_a_service_that_comes_back_while_it_is_being_removed_runs_once() -> None:
    keeper = FakeKeeper(obeys=False)
    async with (
        running(fleet_of(one("web"), one("other")), keeper=keeper) as desk,
        anyio.create_task_group() as tasks,
    ):
        run = desk.run("web")
        tasks.start_soon(apply, desk, fleet_of(one("other")))
        await settle()
        assert desk.state("web") is State.STOPPING
        tasks.start_soon(apply, desk, fleet_of(one("web"), one("other")))
        await settle()
        assert keeper.slots().count("web") == 1, "the old run is not gone"
        keeper.end(run, None, "SIGTERM")
        await settle()
        assert keeper.slots().count("web") == 2
        assert (desk.state("web"), desk.supervisor.services["web"].desired) == (State.READY, Desired.UP)


async def test_news_of_the_other_roles_becomes_events() -> None:
    async with running(fleet_of(one("web"))) as desk:
        desk.keeper.tell(RoleNews("logger", "exited", 11, "killed by SIGKILL"))
        desk.keeper.tell(LoggerNews("dropped", "/h/logs/web.log", {"bytes": 5}))
        await settle()
        events = {event.kind: event for event in await desk.journal.events(_all())}
        assert events["role.exited"].message == "logger exited: killed by SIGKILL"
        assert events["log.dropped"].data == {"path": "/h/logs/web.log", "bytes": 5}


async def test_nobody_starts_on_top_of_a_service_whose_end_came_in_the_same_breath() -> None:
    async with running(fleet_of(one("db"), one("web", "db", restart={"backoff": {"jitter": 0}}))) as desk:
        web, db = desk.run("web"), desk.run("db")
        desk.keeper.begins = False
        for name, run in (("web", web), ("db", db)):  # policy starts web again at once
            desk.supervisor.core.post_news(name, Exited(run, 1, None, 0.0, 0.0, 0))
            desk.supervisor.core.post_news(name, Gone(run))
        await settle()
        assert desk.keeper.slots() == ["db", "web", "db"]
        assert desk.state("web") is State.WAITING


@pytest.mark.parametrize("down", [{}, {"web": DownReason.DISABLED}])
async def test_a_service_that_comes_back_while_an_earlier_one_is_being_stopped_waits_for_its_end(
    down: dict[str, DownReason],
) -> None:
    run = "web-00000000000a"
    held = HeldRun(run, "web", stopping=True, told=(Spawned(run, 7, 0.0, 0.0),))
    keeper = FakeKeeper(obeys=False)
    async with running(fleet_of(one("db")), keeper=keeper, snapshot=keeper.snapshot([held])) as desk:
        assert keeper.of("stop") == [run]
        await apply(desk, fleet_of(one("db"), one("web")), down)
        assert keeper.slots() == ["db"], "two runs of one name never overlap"
        keeper.end(run, 0)
        await settle()
        assert keeper.slots() == (["db"] if down else ["db", "web"])
        assert desk.state("web") is (State.STOPPED if down else State.READY)
        assert run in keeper.of("ack")
