"""What the keeper is left to do when a run ends, from the engine's side."""

from dataclasses import replace

import anyio
import pytest

from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.spec import DependencySpec, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.orders import HeldRun, RunNews
from orchestra_supervisor.rules.inputs import Exited, Gone, Spawned
from orchestra_supervisor.rules.successor import Successor
from tests.unit.engine.desk import Desk, FakeKeeper, fleet_of, running, settle

pytestmark = pytest.mark.anyio


def web(name: str = "web", **fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": name, "argv": ("x",), "cwd": "/", **fields})


def last_of(keeper: FakeKeeper, run: str) -> Successor | None:
    """What follows a run by the last word on it."""
    found = [order[2] for order in keeper.orders if order[:2] == ("again", run)]
    if found:
        assert found[-1] is None or isinstance(found[-1], Successor)
        return found[-1]
    return next(order.successor for order in keeper.spawned if order.run == run)


async def follow(desk: Desk, name: str) -> str:
    """End a run as its keeper would, by the standing order that it has."""
    run = desk.run(name)
    successor = last_of(desk.keeper, run)
    assert successor is not None
    now = anyio.current_time()
    desk.keeper.tell(RunNews(name, Exited(run, None, "SIGKILL", now, now, 0)))
    desk.keeper.tell(RunNews(name, Gone(run, successor.run)))
    desk.keeper.begin(successor.run)
    await settle()
    return successor.run


async def test_one_that_followed_is_taken_over_without_a_spawn_and_may_be_followed_in_its_turn() -> None:
    async with running(fleet_of(web())) as desk:
        await desk.until("web", State.READY)
        first = desk.run("web")
        run = await follow(desk, "web")
        assert (desk.run("web"), desk.state("web")) == (run, State.READY)
        assert len(desk.keeper.spawned) == 1
        assert ("ack", first) in desk.keeper.orders
        successor = last_of(desk.keeper, run)
        assert successor is not None
        assert successor.min_life > 0
        assert desk.supervisor.services["web"].restarts == 1


@pytest.mark.parametrize(("on_failure", "is_stopped"), [("restart", True), ("stop", True), ("keep", False)])
async def test_a_dependent_hears_that_it_was_away_although_it_is_back_in_the_same_breath(
    on_failure: str, is_stopped: bool
) -> None:
    top = web("top", depends_on={"web": {"on_failure": on_failure}})
    async with running(fleet_of(web(), top)) as desk:
        await desk.until("top", State.READY)
        before, run, now = desk.run("top"), desk.run("web"), anyio.current_time()
        successor = last_of(desk.keeper, run)
        assert successor is not None
        for news in (
            Exited(run, None, "SIGKILL", now, now, 0),
            Gone(run, successor.run),
            Spawned(successor.run, 4711, now, now),
        ):
            desk.supervisor.core.post_news("web", news)
        await settle()
        assert any(order[:2] == ("stop", before) for order in desk.keeper.orders) == is_stopped


async def test_the_next_daemon_knows_what_a_dependent_lost_before_the_end_of_that_is_forgotten() -> None:
    top = web("top", depends_on={"web": {"on_failure": "restart"}})
    async with running(fleet_of(web(), top)) as desk:
        await desk.until("top", State.READY)
        run, now = desk.run("web"), anyio.current_time()
        desk.keeper.orders.clear()
        desk.keeper.begins = False
        desk.supervisor.core.post_news("web", Exited(run, None, "SIGKILL", now, now, 0))
        desk.supervisor.core.post_news("web", Gone(run))
        await settle()
        done = [order[:2] for order in desk.keeper.orders]
        assert done.index(("note", "top")) < done.index(("ack", run))


async def test_news_of_what_followed_are_not_heard_before_the_end_of_the_first() -> None:
    """The keeper's order is kept where both come at once."""
    async with running(fleet_of(web())) as desk:
        await desk.until("web", State.READY)
        run = await follow(desk, "web")
        pid = desk.supervisor.services["web"].run
        assert pid is not None
        assert (pid.id, pid.pid is not None) == (run, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"env": {"TOKEN": "secret:token"}},
        {"post_stop": [{"argv": ["x"]}]},
        {"stdio": True},
        {"target": {"name": "container"}},
    ],
)
async def test_what_is_prepared_anew_for_each_start_waits_for_the_daemon(fields: dict[str, object]) -> None:
    async with running(fleet_of(web(**fields))) as desk:
        await settle()
        assert all(order.key == "" and order.successor is None for order in desk.keeper.spawned)
        assert desk.keeper.of("again") == []


async def test_what_a_dependency_does_takes_the_order_back_and_gives_it_again() -> None:
    above = web("above", depends_on={"below": DependencySpec()})
    async with running(fleet_of(web("below"), above)) as desk:
        await desk.until("above", State.READY)
        run, first = desk.run("above"), desk.run("below")
        successor = last_of(desk.keeper, run)
        assert successor is not None
        assert successor.needs == (first,)
        second = await follow(desk, "below")
        successor = last_of(desk.keeper, run)
        assert successor is not None
        assert successor.needs == (second,)
        desk.keeper.begins = False
        desk.keeper.end(second, None, "SIGKILL")
        await settle()
        assert desk.state("below") is not State.READY
        assert last_of(desk.keeper, run) is None


async def test_a_changed_configuration_is_not_followed_by_the_old_one() -> None:
    async with running(fleet_of(web())) as desk:
        await desk.until("web", State.READY)
        run = desk.run("web")
        changed = web(log={"max_bytes": 5_000_000})
        desk.verbs.reload(desk.verbs.stage(fleet_of(changed)), {})
        await desk.supervisor.commit()
        assert desk.run("web") == run, "that changes live"
        assert last_of(desk.keeper, run) is None


async def test_the_next_daemon_says_anew_what_is_to_follow() -> None:
    keeper = FakeKeeper()
    async with running(fleet_of(web()), keeper=keeper) as desk:
        await desk.until("web", State.READY)
        run, key = desk.run("web"), desk.keeper.spawned[0].key
        left = last_of(keeper, run)
    assert key
    for known, wanted in ((key, left), ("another", None), ("", "nothing")):
        heir = FakeKeeper(notes=dict(keeper.notes))
        held = HeldRun(run, "web", False, (Spawned(run, 1000, 0.0, 0.0),), known)
        async with running(fleet_of(web()), keeper=heir, snapshot=heir.snapshot([held])) as desk:
            await settle()
            assert desk.state("web") is State.READY
            said = [order[2] for order in heir.orders if order[:2] == ("again", run)]
        assert said == ([] if wanted == "nothing" else [wanted])


async def test_clients_are_let_in_once_what_happened_without_a_daemon_is_written() -> None:
    keeper = FakeKeeper()
    async with running(fleet_of(web()), keeper=keeper) as desk:
        await desk.until("web", State.READY)
        run = desk.run("web")
        successor = last_of(keeper, run)
        assert successor is not None
    heir, journal = FakeKeeper(notes=dict(keeper.notes)), MemoryJournal()
    ended = (
        Spawned(run, 1000, 0.0, 0.0),
        Exited(run, None, "SIGKILL", 0.0, 0.0, 0),
        Gone(run, successor.run),
    )
    begun = (Spawned(successor.run, 1001, 0.0, 0.0),)
    held = [HeldRun(run, "web", False, ended, "k"), HeldRun(successor.run, "web", False, begun, "k")]
    found: list[tuple[str, str]] = []

    async def written() -> None:
        assert ("ack", run) in heir.orders
        found.extend((event.kind, event.run) for event in await journal.events(EventQuery(limit=100)))

    fleet, snapshot = fleet_of(web()), heir.snapshot(held)
    async with running(fleet, keeper=heir, snapshot=snapshot, journal=journal, written=written) as desk:
        assert desk.supervisor.taken_over.is_set()
        assert desk.run("web") == successor.run
    assert ("service.exited", run) in found
    assert ("service.ready", successor.run) in found


async def test_starts_that_come_to_nothing_are_not_remembered() -> None:
    keeper = FakeKeeper(begins=False)
    async with running(fleet_of(web(restart={"max_restarts": None})), keeper=keeper) as desk:
        for _ in range(20):
            await settle()
            keeper.refuse(keeper.spawned[-1].run, "exec", "No such file")
            await settle()
            await anyio.sleep(600)
        assert len(keeper.spawned) > 10
        succession = desk.supervisor._carrier.succession
        assert (len(succession._keys), len(succession._left)) == (1, 1)


async def test_what_followed_a_run_that_nobody_knows_is_stopped_too() -> None:
    keeper = FakeKeeper(obeys=False)
    stranger, following = "old-00000000000a", "old-00000000000b"
    held = HeldRun(stranger, "old", False, (Spawned(stranger, 7, 0.0, 0.0),), "k")
    async with running(fleet_of(web()), keeper=keeper, snapshot=replace(keeper.snapshot([held]))) as desk:
        await settle()
        assert ("stop", stranger, None) in keeper.orders
        keeper.tell(RunNews("old", Gone(stranger, following)))
        await settle()
        assert ("ack", stranger) in keeper.orders
        assert ("stop", following, None) in keeper.orders
        keeper.tell(RunNews("old", Gone(following)))
        await settle()
        assert ("ack", following) in keeper.orders
        assert desk.state("web") is State.READY


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_service_whose_note_cannot_be_read_starts_anew(*, is_over: bool) -> None:
    run = "web-000000000001"
    end = (Exited(run, 1, None, 1.0, 1001.0, 0), Gone(run)) if is_over else ()
    held = HeldRun(run, "web", False, (Spawned(run, 1000, 0.0, 0.0), *end))
    keeper = FakeKeeper(notes={"web": {"of": "another version"}})
    async with running(fleet_of(web()), keeper=keeper, snapshot=keeper.snapshot([held])) as desk:
        await settle()
        service = desk.supervisor.services["web"]
        assert service.state is State.READY
        assert service.run is not None
        assert service.run.id != run
        assert keeper.slots() == ["web"]
        assert ("ack", run) in keeper.orders
