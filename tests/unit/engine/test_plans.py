"""Periodic services in a running fleet: over a daemon's death, a full downtime, a stop and a reload."""

import anyio
import pytest

from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import DownReason, State
from tests.unit.engine.desk import Desk, FakeKeeper, fleet_of, running, settle

pytestmark = pytest.mark.anyio

PERIOD = 100.0


def job(name: str = "job", **schedule: object) -> ServiceSpec:
    return ServiceSpec.model_validate(
        {
            "name": name,
            "kind": "periodic",
            "argv": ("x",),
            "cwd": "/",
            "restart": {"policy": "never"},
            "schedule": {"every": PERIOD, **schedule},
        }
    )


def dependent(**fields: object) -> ServiceSpec:
    depends_on = {"job": {"condition": "completed"}}
    return ServiceSpec.model_validate(
        {"name": "web", "argv": ("x",), "cwd": "/", "depends_on": depends_on, **fields}
    )


async def run_over(desk: Desk, code: int = 0, name: str = "job") -> None:
    desk.keeper.end(desk.run(name), code)
    await settle()


async def test_runs_begin_by_the_schedule_and_the_journal_knows_how_far_it_is() -> None:
    async with running(fleet_of(job())) as desk:
        began = anyio.current_time()
        assert desk.state("job") is State.WAITING
        assert desk.supervisor.phase == "running", "a fleet has started before its first planned run"
        await desk.until("job", State.RUNNING)
        assert anyio.current_time() == began + PERIOD
        assert desk.journal.plans() == {"job": 1_000_000.0 + began + PERIOD}
        await run_over(desk)
        assert desk.state("job") is State.COMPLETED
        await desk.until("job", State.RUNNING)
        assert anyio.current_time() == began + 2 * PERIOD


async def test_the_next_daemon_begins_what_came_due_and_repeats_nothing() -> None:
    keeper = FakeKeeper()
    journal = MemoryJournal()
    async with running(fleet_of(job()), keeper=keeper, journal=journal) as desk:
        await desk.until("job", State.RUNNING)
        await run_over(desk)
        began = anyio.current_time() - PERIOD
    keeper = FakeKeeper(notes=keeper.notes)
    await anyio.sleep_until(began + 2 * PERIOD + 7)
    async with running(fleet_of(job()), keeper=keeper, journal=journal) as desk:
        assert keeper.slots() == ["job"]
        await run_over(desk)
        await anyio.sleep_until(began + 3 * PERIOD - 1)
        assert keeper.slots() == ["job"]
        await desk.until("job", State.RUNNING)
        assert anyio.current_time() == began + 3 * PERIOD


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("once", 1), ("all", 3)])
async def test_a_full_downtime_is_made_up_for_as_the_schedule_says(missed: str, runs: int) -> None:
    journal = MemoryJournal()
    async with running(fleet_of(job(missed=missed)), journal=journal) as desk:
        await desk.until("job", State.RUNNING)
        await run_over(desk)
    await anyio.sleep(3.5 * PERIOD)
    async with running(fleet_of(job(missed=missed)), journal=journal) as desk:
        for _ in range(runs):
            await run_over(desk)
        assert len(desk.keeper.slots()) == runs
        assert desk.state("job") is (State.COMPLETED if runs else State.WAITING)
        told = await desk.journal.events(EventQuery(kind_prefix="service.missed"))
        assert [event.data["made_up"] for event in told] == ([runs] if runs else [])


async def test_what_came_due_while_it_was_stopped_by_hand_was_not_missed() -> None:
    journal = MemoryJournal()
    async with running(fleet_of(job()), journal=journal) as desk:
        desk.verbs.stop(["job"], "by hand", with_dependents=False)
        await settle()
        assert journal.plans() == {}
        await anyio.sleep(5 * PERIOD)
        desk.verbs.start(["job"], "by hand")
        await settle()
        assert desk.keeper.slots() == []
        await desk.until("job", State.RUNNING)


async def test_how_far_a_service_came_that_is_configured_no_more_is_forgotten() -> None:
    journal = MemoryJournal()
    journal.set_plan("gone", 5.0)
    journal.set_plan("off", 5.0)
    async with running(
        fleet_of(job(), job("off")), journal=journal, down={"off": DownReason.DISABLED}
    ) as desk:
        assert sorted(journal.plans()) == ["job"]
        desk.verbs.reload(fleet_of(job("other")), {})
        await desk.supervisor.commit()
        await desk.verbs.forget_removed(["job", "off"])
        await settle()
        assert sorted(journal.plans()) == ["other"]


async def test_a_dependent_waits_for_a_run_that_succeeds_and_keeps_running_through_the_next() -> None:
    async with running(fleet_of(job(), dependent())) as desk:
        assert desk.state("web") is State.WAITING
        assert desk.supervisor.phase == "running", "nothing more happens by itself for now"
        await desk.until("job", State.RUNNING)
        await run_over(desk, 1)
        assert desk.state("web") is State.WAITING
        await desk.until("job", State.RUNNING)
        await run_over(desk)
        assert desk.state("web") is State.READY
        await desk.until("job", State.RUNNING)
        await run_over(desk, 1)
        assert desk.keeper.slots().count("web") == 1


async def test_a_required_dependent_of_a_run_to_come_does_not_fail_the_fleet() -> None:
    async with running(fleet_of(job(), dependent(required_for_system=True))) as desk:
        await desk.until("job", State.RUNNING)
        await run_over(desk, 1)
        assert desk.supervisor.phase == "running"


async def test_with_on_start_the_fleet_has_started_when_the_first_run_is_over() -> None:
    async with running(fleet_of(job(on_start=True))) as desk:
        assert desk.supervisor.phase == "starting"
        await run_over(desk)
        assert desk.supervisor.phase == "running"


async def test_another_schedule_is_read_without_a_new_run() -> None:
    async with running(fleet_of(job())) as desk:
        await desk.until("job", State.RUNNING)
        began = anyio.current_time()
        desk.verbs.reload(fleet_of(job(every=30)), {})
        await desk.supervisor.commit()
        assert desk.keeper.of("stop") == []
        await run_over(desk)
        await desk.until("job", State.RUNNING)
        assert anyio.current_time() == began + 30
