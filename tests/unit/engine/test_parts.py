"""A fleet of more services than are decided at once: what happens between two parts of it."""

import anyio
import pytest

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.model.report import RunReport
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.process.orders import HeldRun, RunNews
from orchestra_supervisor.rules.inputs import Due, Effect, Exited, Gone, Spawn, Spawned
from orchestra_supervisor.rules.service import Run, Service
from tests.unit.engine.desk import FakeKeeper, VirtualClock, fleet_of, running, settle

pytestmark = pytest.mark.anyio

MANY = [f"s{number:03}" for number in range(300)]


def large() -> Fleet:
    return fleet_of(*(ServiceSpec(name=name, argv=("x",), cwd="/") for name in MANY))


class StuckKeeper(FakeKeeper):
    """Takes the first part of the orders, and then no more."""

    async def flush(self) -> None:
        await anyio.sleep_forever()


def held_by(keeper: FakeKeeper) -> list[HeldRun]:
    return [
        HeldRun(order.run, order.slot, False, (Spawned(order.run, 1000, 0.0, 0.0),))
        for order in keeper.spawned
    ]


async def test_what_a_daemon_had_not_come_to_when_it_died_is_begun_by_the_next() -> None:
    first = StuckKeeper()
    async with running(large(), keeper=first):
        begun = first.slots()
    assert 0 < len(begun) < len(MANY)
    heir = FakeKeeper(notes=dict(first.notes))
    async with running(large(), keeper=heir, snapshot=heir.snapshot(held_by(first))) as desk:
        assert {name for name in MANY if desk.state(name) is not State.READY} == set()
        assert len(heir.spawned) == len(MANY) - len(begun)


async def test_no_note_is_left_of_what_is_not_decided() -> None:
    first = StuckKeeper()
    async with running(large(), keeper=first):
        assert first.notes.keys() == set(first.slots())


async def test_an_end_that_is_told_while_a_daemon_takes_over_is_not_taken_for_an_older_one() -> None:
    keeper, last = FakeKeeper(), MANY[-1]
    async with running(large(), keeper=keeper) as desk:
        run = desk.run(last)
    heir, now = FakeKeeper(notes=dict(keeper.notes)), anyio.current_time()
    following = f"{last}-00000000000f"
    held = held_by(keeper)
    ended = HeldRun(
        run,
        last,
        False,
        (Spawned(run, 1000, 0.0, 0.0), Exited(run, 1, None, now, now, 0), Gone(run, following)),
    )
    held = [*(one for one in held if one.slot != last), ended]
    held.append(HeldRun(following, last, False, (Spawned(following, 1001, now, now),)))
    heir.tell(RunNews(last, Exited(following, 1, None, now, now, 0)))
    heir.tell(RunNews(last, Gone(following)))
    async with running(large(), keeper=heir, snapshot=heir.snapshot(held)) as desk:
        await settle()
        service = desk.supervisor.services[last]
        assert service.run is None or service.run.id != following, "nothing is left of it"
        assert ("ack", following) in heir.orders
        await desk.until(last, State.READY)


def core_of(*services: Service, orders: list[tuple[str, Effect]] | None = None) -> Core:
    clock, journal = VirtualClock(), MemoryJournal()

    def carry_out(service: Service, effects: tuple[Effect, ...]) -> None:
        if orders is not None:
            orders.extend((service.spec.name, effect) for effect in effects)

    core = Core(clock=clock, bus=EventBus(journal, clock), carry_out=carry_out)
    for service in services:
        core.put(service)
    core.rewire({service.spec.name: service.spec for service in services})
    return core


def one(name: str, **fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": name, "argv": ("x",), "cwd": "/", **fields})


def run_of(name: str, pid: int | None = None) -> Run:
    return Run(id=f"{name}-00000000000a", ordered_mono=0.0, ordered_wall=0.0, pid=pid)


async def test_who_was_told_nothing_yet_hears_that_what_it_waits_for_has_come() -> None:
    above = one("above", depends_on={"below": {"condition": "started"}})
    core = core_of(
        Service(one("below"), state=State.STARTING, desired=Desired.UP, run=run_of("below")),
        Service(above, state=State.WAITING, desired=Desired.UP),
    )
    core.post("above", Due())
    core.drain(1)
    assert core.services["above"].state is State.WAITING
    core.post_news("below", Spawned("below-00000000000a", 1000, 0.0, 0.0))
    core.drain()
    assert core.services["above"].state is State.STARTING


async def test_who_waits_is_not_told_of_an_end_before_all_news_are_known() -> None:
    every = one("every", kind="periodic", schedule={"every": 60})
    needs = {"every": {"condition": "completed"}, "below": {"condition": "started"}}
    orders: list[tuple[str, Effect]] = []
    core = core_of(
        Service(
            every,
            state=State.RUNNING,
            desired=Desired.UP,
            run=run_of("every", 7),
            last=RunReport(0.0, 0.0, 1.0, 1.0, success=True, text="exit code 0"),
        ),
        Service(one("below"), state=State.STARTING, desired=Desired.UP, run=run_of("below")),
        Service(one("above", depends_on=needs), state=State.WAITING, desired=Desired.UP),
        orders=orders,
    )
    core.drain()
    core.post_news("below", Spawned("below-00000000000a", 1000, 0.0, 0.0))
    core.post_news("every", Exited("every-00000000000a", 0, None, 2.0, 2.0, 0))
    core.post_news("below", Exited("below-00000000000a", 1, None, 2.0, 2.0, 0))
    core.drain()
    assert [name for name, effect in orders if isinstance(effect, Spawn)] == []
    assert core.services["above"].state is State.WAITING
