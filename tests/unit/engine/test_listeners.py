"""Event listeners in a fleet: what is added, who is told of comings and goings, and who goes down last."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.engine.last_words import PATIENCE
from orchestra_supervisor.engine.listeners import ListenerDesk
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.spec import BackoffSpec, Fleet, RestartSpec, ServiceSpec, StopSpec, StopStep
from orchestra_supervisor.model.states import State
from orchestra_supervisor.model.supervisord import LAST_WORDS, LISTENERS, SupervisorName
from orchestra_supervisor.process.orders import HeldRun
from orchestra_supervisor.rules.inputs import Spawned
from orchestra_supervisor.rules.reload import Action
from tests.unit.engine.desk import Desk, FakeKeeper, running, settle

pytestmark = pytest.mark.anyio

HOME = Path("/h")


def service(name: str, *, is_listener: bool = False) -> ServiceSpec:
    told = SupervisorName(group=name, process=name, kind="eventlistener" if is_listener else "program")
    return ServiceSpec(name=name, argv=("x",), cwd="/", supervisor=told)


def fleet_of(*specs: ServiceSpec) -> Fleet:
    return Fleet(services={spec.name: spec for spec in specs})


def test_listeners_get_pipes_and_somebody_who_speaks_with_them() -> None:
    desk = ListenerDesk(HOME)
    equipped = desk.equip(fleet_of(service("rec", is_listener=True), service("web")))
    assert {name: spec.stdio for name, spec in equipped.services.items()} == {
        "rec": True,
        "web": False,
        LISTENERS: False,
    }
    assert equipped.services[LISTENERS] == ServiceSpec(
        name=LISTENERS,
        title="Event listeners",
        description="Tells event listeners of supervisord what happens, by their protocol.",
        argv=(sys.executable, "-P", "-m", "orchestra_supervisor.listeners"),
        cwd="/h",
        priority=-1_000_000_000,
        channel=True,
        restart=RestartSpec(
            policy="always",
            max_restarts=None,
            backoff=BackoffSpec(initial=0.1, cap=1.0, first_immediate=True),
            stable_after=10.0,
        ),
        stop=StopSpec(steps=(StopStep(wait=2.0),)),
    )
    assert desk.equip(equipped) == equipped
    assert desk.adopt(equipped) is equipped
    assert desk.adopt(fleet_of(service("rec", is_listener=True))) == desk.equip(
        fleet_of(service("rec", is_listener=True))
    )


def test_without_listeners_there_is_nobody() -> None:
    desk = ListenerDesk(HOME)
    plain = fleet_of(service("web"))
    assert desk.equip(plain) == plain
    assert desk.adopt(plain) is plain
    assert desk.equip(fleet_of(service("web"), service(LISTENERS))) == plain


async def test_listeners_go_down_when_all_others_have() -> None:
    keeper = FakeKeeper(obeys=False)
    fleet = fleet_of(service("rec", is_listener=True), service("web"), service("db"), service(LISTENERS))
    async with running(fleet, keeper=keeper) as desk:
        await settle()
        runs = {name: one.run.id for name, one in desk.supervisor.services.items() if one.run is not None}

        async def until_stopped(*names: str) -> None:
            while {order[1] for order in keeper.orders if order[0] == "stop"} != {
                runs[name] for name in names
            }:
                await anyio.sleep(0.01)

        with anyio.fail_after(10):
            desk.supervisor.shutdown("the test is over")
            await until_stopped("web", "db")
            keeper.end(runs["db"])
            await settle()
            assert desk.supervisor.services["rec"].state is State.READY
            keeper.end(runs["web"])
            await until_stopped("web", "db", "rec")
            assert desk.supervisor.services[LISTENERS].state is State.READY
            keeper.end(runs["rec"])
            await until_stopped("web", "db", "rec", LISTENERS)
            keeper.end(runs[LISTENERS])


WATCHED = fleet_of(service("rec", is_listener=True), service("web"), service(LISTENERS))


@asynccontextmanager
async def going_down() -> AsyncGenerator[tuple[Desk, dict[str, str]]]:
    """Have a fleet of which all but the listener and who speaks with it is down; yields it and its runs."""
    keeper = FakeKeeper(obeys=False)
    async with running(WATCHED, keeper=keeper) as desk:
        await settle()
        runs = {name: one.run.id for name, one in desk.supervisor.services.items() if one.run is not None}
        desk.supervisor.shutdown("the test is over")
        await settle()
        keeper.end(runs["web"])
        await settle()
        yield desk, runs
        for name in ("rec", LISTENERS):
            keeper.end(runs[name])


def is_stopped(keeper: FakeKeeper, run: str) -> bool:
    return run in {order[1] for order in keeper.orders if order[0] == "stop"}


async def test_listeners_go_when_they_were_told_of_all_others() -> None:
    async with going_down() as (desk, runs):
        (asked,) = await desk.journal.events(EventQuery(kind_prefix=LAST_WORDS))
        desk.supervisor.last_words.told(asked.seq - 1)
        await settle()
        assert not is_stopped(desk.keeper, runs["rec"])
        assert desk.supervisor.services["rec"].reason == "stops when web is down"
        desk.supervisor.last_words.told(asked.seq)
        await settle()
        assert is_stopped(desk.keeper, runs["rec"])


async def test_nobody_waits_for_the_answer_for_longer_than_its_patience() -> None:
    async with going_down() as (desk, runs):
        await anyio.sleep(PATIENCE - 0.1)
        assert not is_stopped(desk.keeper, runs["rec"])
        await anyio.sleep(0.2)
        assert is_stopped(desk.keeper, runs["rec"])


async def test_nobody_waits_where_nobody_can_answer() -> None:
    async with going_down() as (desk, runs):
        assert not is_stopped(desk.keeper, runs["rec"])
        desk.keeper.end(runs[LISTENERS])
        await settle()
        assert is_stopped(desk.keeper, runs["rec"])


async def test_the_next_daemon_asks_anew() -> None:
    async with going_down() as (desk, runs):
        notes = dict(desk.keeper.notes)
    after = FakeKeeper(obeys=False, notes=notes)
    held = [
        HeldRun(runs[name], name, stopping=False, told=(Spawned(runs[name], 1000, 0.0, 0.0),))
        for name in ("rec", LISTENERS)
    ]
    async with running(WATCHED, keeper=after, snapshot=after.snapshot(held, shutdown=True)) as desk:
        await settle()
        (asked,) = await desk.journal.events(EventQuery(kind_prefix=LAST_WORDS))
        assert not is_stopped(after, runs["rec"])
        desk.supervisor.last_words.told(asked.seq)
        await settle()
        assert is_stopped(after, runs["rec"])
        for name in ("rec", LISTENERS):
            after.end(runs[name])


async def test_who_is_forgotten_is_told_of() -> None:
    async with running(fleet_of(service("web"), service("db"))) as desk:
        await settle()
        plan = desk.verbs.reload(fleet_of(service("web")), {})
        await desk.verbs.forget_removed(plan.names(Action.REMOVE))
        found = await desk.journal.events(EventQuery(kind_prefix="service.removed"))
        assert [(one.service, one.data) for one in found] == [("db", {})]
