"""What the service manager is told of the fleet, and when."""

from dataclasses import replace

import pytest

from orchestra_supervisor.model.errors import ConfigError
from orchestra_supervisor.model.spec import Fleet, FleetSettings, RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.orders import HeldRun, Pinged, ShutdownAsked
from orchestra_supervisor.rules.inputs import Spawned
from tests.unit.engine.desk import Desk, FakeKeeper, fleet_of, running, settle

pytestmark = pytest.mark.anyio


def spec(name: str, **fields: object) -> ServiceSpec:
    never = RestartSpec(policy="never")
    return ServiceSpec.model_validate({"name": name, "argv": ("x",), "cwd": "/", "restart": never, **fields})


def told(desk: Desk) -> list[tuple[object, ...]]:
    return [order[1:] for order in desk.keeper.orders if order[0] == "status"]


def listening(keeper: FakeKeeper) -> dict[str, object]:
    return {"keeper": keeper, "snapshot": replace(keeper.snapshot(), manager=True)}


async def test_a_fleet_is_ready_when_it_has_settled_and_failures_are_named() -> None:
    keeper = FakeKeeper(begins=False)
    async with running(fleet_of(*map(spec, "abcde")), **listening(keeper)) as desk:  # type: ignore[arg-type]
        assert told(desk) == [("starting", "0 of 5 ready")]
        for name in "bcde":
            keeper.refuse(desk.run(name), "exec", "no such file")
        keeper.begin(desk.run("a"))
        await settle()
        assert told(desk)[-1] == ("ready", "1 of 5 ready; failed: b, c, d and 1 more")
        desk.verbs.stop(["b", "c"], "by hand", with_dependents=False)
        await settle()
        assert told(desk)[-1] == ("ready", "1 of 3 ready; failed: d, e")


async def test_without_a_manager_nothing_is_said() -> None:
    async with running(fleet_of(spec("a"))) as desk:
        await desk.until("a", State.READY)
        assert told(desk) == []


async def test_with_systemd_ready_daemon_the_fleet_need_not_settle() -> None:
    settings = FleetSettings(systemd_ready="daemon")
    keeper = FakeKeeper(begins=False)
    fleet = Fleet(services={"a": spec("a")}, settings=settings)
    async with running(fleet, **listening(keeper)) as desk:  # type: ignore[arg-type]
        assert told(desk) == [("ready", "0 of 1 ready")]


async def test_a_next_daemon_says_at_once_how_the_fleet_stands_although_nothing_changes() -> None:
    keeper = FakeKeeper()
    async with running(fleet_of(spec("a")), **listening(keeper)) as desk:  # type: ignore[arg-type]
        await desk.until("a", State.READY)
        held = HeldRun(desk.run("a"), "a", stopping=False, told=(Spawned(desk.run("a"), 1000, 0.0, 0.0),))
    after = FakeKeeper(notes=keeper.notes)
    snapshot = replace(after.snapshot([held]), manager=True)
    async with running(fleet_of(spec("a")), keeper=after, snapshot=snapshot) as desk:
        assert told(desk) == [("ready", "1 of 1 ready")]


async def test_going_down_is_counted_and_a_start_that_failed_says_why() -> None:
    keeper = FakeKeeper(obeys=False)
    fleet = fleet_of(spec("a"), spec("b"))
    async with running(fleet, **listening(keeper)) as desk:  # type: ignore[arg-type]
        keeper.tell(ShutdownAsked(hurry=False))
        await settle()
        assert told(desk)[-1] == ("stopping", "stopping; still up: 2 services")
        keeper.end(desk.run("a"), 0)
        await settle()
        assert told(desk)[-1] == ("stopping", "stopping; still up: 1 services")


async def test_a_ping_is_answered_by_the_loop_that_supervises() -> None:
    async with running(fleet_of(spec("a"))) as desk:
        desk.keeper.tell(Pinged(7))
        await settle()
        assert ("pong", 7) in desk.keeper.orders


async def test_a_reload_is_told_when_it_begins_and_ends_and_a_refusal_stays_until_the_next() -> None:
    keeper = FakeKeeper()
    async with running(fleet_of(spec("a")), **listening(keeper)) as desk:  # type: ignore[arg-type]
        await desk.until("a", State.READY)
        standing = desk.supervisor.standing

        with pytest.raises(ConfigError), standing.reloading():
            raise ConfigError("orchestra.json:1: a comma is missing")
        assert told(desk)[-2:] == [
            ("reloading", "1 of 1 ready; reading the configuration again"),
            ("ready", "1 of 1 ready; the last reload was refused: orchestra.json:1: a comma is missing"),
        ]
        with standing.reloading():
            pass
        assert told(desk)[-1] == ("ready", "1 of 1 ready")
