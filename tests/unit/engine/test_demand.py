"""Demands on a running fleet: who may start what, who keeps it up, and that a stop by hand is stronger."""

import pytest

from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.rules.left_down import left_down
from orchestra_supervisor.rules.reload import Action
from tests.unit.engine.desk import Desk, fleet_of, running, settle

pytestmark = pytest.mark.anyio


def one(name: str, *needs: str, **fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate(
        {"name": name, "argv": ("x",), "cwd": "/", "depends_on": {need: {} for need in needs}, **fields}
    )


def asked(name: str, *needs: str, **fields: object) -> ServiceSpec:
    return one(name, *needs, start_on="demand", **fields)


TOOLS = fleet_of(one("web"), asked("tool", "store"), asked("store"))


def standing(desk: Desk) -> dict[str, str]:
    return {name: f"{one.state} {one.down_reason}".strip() for name, one in desk.supervisor.services.items()}


async def test_at_boot_they_rest_and_the_fleet_is_ready() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        assert standing(desk) == {"web": "ready", "tool": "stopped demand", "store": "stopped demand"}
        assert desk.supervisor.phase == "running"
        assert desk.keeper.slots() == ["web"]


async def test_a_start_takes_along_what_rests_below() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        assert desk.verbs.start(["tool"], "a call", on_demand=True) == ["store", "tool"]
        await settle()
        assert desk.keeper.slots() == ["web", "store", "tool"]
        assert standing(desk) == {"web": "ready", "tool": "ready", "store": "ready"}


async def test_what_is_wanted_at_boot_wakes_what_it_depends_on() -> None:
    fleet = fleet_of(one("web", "tool"), asked("tool", "store"), asked("store"), asked("idle"))
    async with running(fleet, down=left_down(fleet)) as desk:
        assert desk.keeper.slots() == ["store", "tool", "web"]
        assert standing(desk)["idle"] == "stopped demand"


async def test_a_restart_of_a_dependent_at_rest_wakes_it_too() -> None:
    fleet = fleet_of(one("web", "tool"), asked("tool"))
    async with running(fleet, down={"web": DownReason.OPERATOR, "tool": DownReason.DEMAND}) as desk:
        assert desk.keeper.slots() == []
        desk.verbs.restart(["web"], "by hand", with_dependents=False)
        await settle()
        assert desk.keeper.slots() == ["tool", "web"]


async def test_a_demand_leaves_alone_what_is_up_or_on_its_way() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        desk.verbs.start(["store"], "by hand")
        await settle()
        before = desk.supervisor.services["store"]
        assert desk.verbs.start(["web", "store"], "a call", on_demand=True) == ["store", "web"]
        await settle()
        assert desk.supervisor.services["store"] is before


async def test_a_stop_by_hand_is_stronger_than_any_demand() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        desk.verbs.stop(["store"], "by hand", with_dependents=False)
        with pytest.raises(ConflictError, match="store was stopped by hand") as caught:
            desk.verbs.start(["tool"], "a call", on_demand=True)
        assert caught.value.hint == "orchestra start store"
        await settle()
        assert standing(desk) == {"web": "ready", "tool": "stopped demand", "store": "stopped operator"}
        desk.verbs.stop_idle(["store"], "idle")
        await settle()
        assert standing(desk)["store"] == "stopped operator", "an idle stop does not undo it either"
        desk.verbs.start(["store"], "by hand")
        await settle()
        assert standing(desk)["store"] == "ready"


async def test_an_idle_stop_lets_it_rest() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        desk.verbs.start(["tool"], "a call", on_demand=True)
        await settle()
        assert desk.verbs.stop_idle(["tool", "store"], "idle") == ["tool", "store"]
        await settle()
        assert standing(desk) == {"web": "ready", "tool": "stopped demand", "store": "stopped demand"}
        assert [run.rsplit("-", 1)[0] for run in desk.keeper.of("stop")] == ["tool", "store"]


async def test_nobody_rests_whom_somebody_needs() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        desk.verbs.start(["tool"], "a call", on_demand=True)
        await settle()
        with pytest.raises(ConflictError, match="store is needed by tool"):
            desk.verbs.stop_idle(["store"], "idle")
        with pytest.raises(ConflictError, match="web does not start on demand"):
            desk.verbs.stop_idle(["web", "tool"], "idle")
        await settle()
        assert desk.keeper.of("stop") == []


async def test_what_has_failed_is_for_a_person_to_start() -> None:
    fleet = fleet_of(asked("tool", restart={"policy": "never"}))
    async with running(fleet, down=left_down(fleet)) as desk:
        desk.verbs.start(["tool"], "a call", on_demand=True)
        await settle()
        desk.keeper.end(desk.run("tool"), code=3)
        await settle()
        assert desk.state("tool") is State.FAILED
        with pytest.raises(ConflictError, match="tool has failed: exit code 3"):
            desk.verbs.start(["tool"], "a call", on_demand=True)


async def test_a_reload_leaves_what_rests_and_what_runs_as_it_is() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        desk.verbs.start(["store"], "a call", on_demand=True)
        await settle()
        new = fleet_of(one("web"), asked("tool", "store", env={"A": "1"}), asked("store"), asked("more"))
        done = desk.verbs.reload(new, left_down(new))
        await settle()
        assert (done.names(Action.LATER), done.names(Action.ADD)) == (("tool",), ("more",))
        assert standing(desk) == {
            "web": "ready",
            "tool": "stopped demand",
            "store": "ready",
            "more": "stopped demand",
        }
        assert desk.keeper.slots() == ["web", "store"]


async def test_a_service_that_a_reload_brings_wakes_what_it_depends_on() -> None:
    async with running(TOOLS, down=left_down(TOOLS)) as desk:
        new = fleet_of(one("web"), asked("tool", "store"), asked("store"), one("api", "store"))
        desk.verbs.reload(new, left_down(new))
        await settle()
        assert desk.keeper.slots() == ["web", "store", "api"]


async def test_one_that_is_enabled_by_a_reload_rests() -> None:
    fleet = fleet_of(asked("tool", enabled=False))
    async with running(fleet, down=left_down(fleet)) as desk:
        assert standing(desk) == {"tool": "stopped disabled"}
        new = fleet_of(asked("tool"))
        desk.verbs.reload(new, left_down(new))
        await settle()
        assert standing(desk) == {"tool": "stopped demand"}
