"""The verbs with their roles, waits, memory and audit, on a virtual clock."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
import trio.testing

from orchestra_supervisor.config.plan import PlanReport
from orchestra_supervisor.control import Ask, Control
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.caller import Principal, Role
from orchestra_supervisor.model.errors import (
    ConfigError,
    ConflictError,
    ControlDenied,
    InvalidRequest,
    JournalError,
    OrchestraError,
    UnknownService,
    WaitTimeout,
)
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.spec import Fleet, FleetSettings, ServiceSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.process.orders import SpawnOrder
from tests.unit.engine.desk import Desk, FakeKeeper, replicas_of, running, settle

pytestmark = pytest.mark.anyio

ADMIN = Principal("root (uid 0, pid 1)", Role.ADMIN)
OPERATOR = Principal("olga (uid 1000, pid 2)", Role.OPERATOR)
VIEWER = Principal("victor (uid 1001, pid 3)", Role.VIEWER)
QUICK = Ask(patience=5.0)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def one(name: str, *needs: str, **fields: object) -> ServiceSpec:
    depends_on: dict[str, object] = {need: {} for need in needs}
    return ServiceSpec.model_validate(
        {"name": name, "argv": ("x",), "cwd": "/", "depends_on": depends_on, **fields}
    )


JOB = one("job", kind="periodic", schedule={"every": 3600}, restart={"policy": "never"})


@dataclass
class Room:
    desk: Desk
    control: Control
    loads: list[str]
    looks: list[tuple[Path, ...]]

    async def audit(self) -> list[Event]:
        return await self.desk.journal.events(EventQuery(limit=1000, kind_prefix="control."))


@asynccontextmanager
async def a_room(
    *specs: ServiceSpec,
    keeper: FakeKeeper | None = None,
    remember_stops: bool = False,
    load_error: OrchestraError | None = None,
) -> AsyncGenerator[Room]:
    fleet = Fleet(
        services={spec.name: spec for spec in specs}, settings=FleetSettings(remember_stops=remember_stops)
    )
    loads: list[str] = []
    looks: list[tuple[Path, ...]] = []

    async def load(by: str) -> PlanReport:
        loads.append(by)
        if load_error is not None:
            raise load_error
        return PlanReport(unchanged=len(fleet.services))

    async def look(paths: tuple[Path, ...]) -> PlanReport:
        looks.append(paths)
        return PlanReport(unchanged=len(fleet.services))

    async with running(fleet, keeper=keeper) as desk:
        control = Control(
            supervisor=desk.supervisor,
            verbs=desk.verbs,
            keeper=desk.keeper,
            journal=desk.journal,
            bus=desk.bus,
            clock=desk.clock,
            load=load,
            rescale=desk.rescale,
            look=look,
        )
        yield Room(desk, control, loads, looks)


# Roles.

Verb = Callable[[Control, Principal], Awaitable[object]]
OPERATING: dict[str, Verb] = {
    "start": lambda control, who: control.start(who, ["web"], QUICK),
    "stop": lambda control, who: control.stop(who, ["web"], QUICK),
    "restart": lambda control, who: control.restart(who, ["web"], QUICK),
    "run": lambda control, who: control.run(who, ["job"], QUICK),
    "signal": lambda control, who: control.signal(who, ["web"], "SIGHUP", "leader"),
    "roll": lambda control, who: control.roll(who, ["web"], QUICK, 1),
}
ADMINISTRATING: dict[str, Verb] = {
    "reload": lambda control, who: control.reload(who),
    "shutdown": lambda control, who: control.shutdown(who, "night"),
}


@pytest.mark.parametrize("verb", [*OPERATING, *ADMINISTRATING])
async def test_a_viewer_changes_nothing(verb: str) -> None:
    async with a_room(one("web"), JOB) as room:
        orders = list(room.desk.keeper.orders)
        with pytest.raises(
            ControlDenied, match=r"victor \(uid 1001, pid 3\) is viewer, this needs"
        ) as caught:
            await {**OPERATING, **ADMINISTRATING}[verb](room.control, VIEWER)
        assert caught.value.hint
        await settle()
        assert (room.desk.keeper.orders, room.loads) == (orders, [])


async def test_a_viewer_may_see_what_a_reload_would_do_and_have_no_other_file_read() -> None:
    async with a_room(one("web")) as room:
        assert (await room.control.plan(VIEWER)).is_empty
        for who in (VIEWER, OPERATOR):
            with pytest.raises(ControlDenied, match="this needs admin"):
                await room.control.plan(who, ["/etc/shadow"])
        with pytest.raises(InvalidRequest, match="absolute"):
            await room.control.plan(ADMIN, ["orchestra.json"])
        await room.control.plan(ADMIN, ["/srv/orchestra.json"])
        assert room.looks == [(), (Path("/srv/orchestra.json"),)]


@pytest.mark.parametrize("verb", OPERATING)
@pytest.mark.parametrize("who", [OPERATOR, ADMIN])
async def test_an_operator_and_an_admin_operate(verb: str, who: Principal) -> None:
    async with a_room(one("web"), JOB) as room:
        await OPERATING[verb](room.control, who)
        assert who.name in str((await room.audit())[-1].data["who"])


@pytest.mark.parametrize("verb", ADMINISTRATING)
async def test_only_an_admin_reloads_and_shuts_down(verb: str) -> None:
    async with a_room(one("web")) as room:
        with pytest.raises(ControlDenied, match="is operator, this needs admin"):
            await ADMINISTRATING[verb](room.control, OPERATOR)
        await ADMINISTRATING[verb](room.control, ADMIN)
        assert [event.data["verb"] for event in await room.audit()] == [verb]


async def test_a_denied_call_does_not_learn_which_services_there_are() -> None:
    async with a_room(one("web")) as room:
        with pytest.raises(ControlDenied):
            await room.control.stop(VIEWER, ["wob"], QUICK)


async def test_everyone_may_look_and_wait() -> None:
    async with a_room(one("web")) as room:
        assert room.control.told() == ["web"]
        assert [result.ok for result in await room.control.wait(["web"], "ready", 1.0)] == [True]


# Names.


async def test_a_wrong_name_changes_nothing_for_the_right_ones() -> None:
    async with a_room(one("web"), one("db")) as room:
        with pytest.raises(UnknownService):
            await room.control.stop(ADMIN, ["web", "dbb"], QUICK)
        with pytest.raises(InvalidRequest):
            await room.control.stop(ADMIN, [], QUICK)
        await settle()
        assert room.desk.state("web") is State.READY


# Waiting.


async def test_a_restart_is_done_when_another_run_is_ready() -> None:
    keeper = FakeKeeper(obeys=False)
    async with a_room(one("web"), keeper=keeper) as room, anyio.create_task_group() as tasks:
        results: list[object] = []

        async def restart() -> None:
            results.extend(await room.control.restart(OPERATOR, ["web"], Ask(patience=100.0)))

        run = room.desk.run("web")
        tasks.start_soon(restart)
        await anyio.sleep(10.0)
        assert results == []
        keeper.end(run, None, "SIGTERM")
        await settle()
        (result,) = results
        assert (result.ok, result.before, result.after, result.took) == (True, "ready", "ready", 10.0)  # type: ignore[attr-defined]


async def test_a_wait_ends_early_when_what_is_waited_for_cannot_come() -> None:
    keeper = FakeKeeper()
    keeper.on_spawn = lambda order: keeper.refuse(order.run, "exec", "No such file: x")
    async with a_room(one("web", restart={"policy": "never"}), keeper=keeper) as room:
        began = anyio.current_time()
        for goal in ("ready", "completed"):
            with pytest.raises(WaitTimeout, match=f"not {goal}: web is failed") as caught:
                await room.control.wait(["web"], goal, 1000.0)
            assert caught.value.context["results"]
        assert anyio.current_time() == began
        assert (await room.control.wait(["web"], "stopped", 1.0))[0].ok


async def test_a_wait_for_what_nobody_knows_is_refused() -> None:
    async with a_room(one("web")) as room:
        with pytest.raises(InvalidRequest, match="cannot wait for 'lunch'"):
            await room.control.wait(["web"], "lunch", 1.0)


async def test_a_once_service_can_be_waited_for_to_complete() -> None:
    async with a_room(one("job", kind="once")) as room, anyio.create_task_group() as tasks:

        async def finish() -> None:
            await anyio.sleep(3.0)
            room.desk.keeper.end(room.desk.run("job"), 0)

        tasks.start_soon(finish)
        (result,) = await room.control.wait(["job"], "completed", 10.0)
        assert (result.ok, result.after, result.took) == (True, "completed", 3.0)


async def test_every_command_ends_in_its_time_whatever_the_service_does() -> None:
    async with a_room(one("web"), keeper=FakeKeeper(obeys=False)) as room:
        began = anyio.current_time()
        (result,) = await room.control.stop(OPERATOR, ["web"], Ask(patience=30.0))
        assert anyio.current_time() - began == 30.0
        assert (result.ok, result.message) == (
            False,
            "still stopping after 30.0 s: stopped by olga (uid 1000, pid 2) (pid 1001)",
        )


async def test_dependents_come_along_where_asked_for_and_are_in_the_results() -> None:
    async with a_room(one("db"), one("web", "db")) as room:
        results = await room.control.stop(OPERATOR, ["db"], Ask(with_dependents=True))
        assert [(result.name, result.after) for result in results] == [("web", "stopped"), ("db", "stopped")]
        results = await room.control.start(OPERATOR, ["web"], QUICK)
        assert [(result.name, result.after) for result in results] == [("db", "ready"), ("web", "ready")]


async def test_a_restart_that_has_to_wait_for_dependents_has_changed_something() -> None:
    async with a_room(one("db"), one("web", "db"), keeper=FakeKeeper(obeys=False)) as room:
        ask = Ask(wait=False, with_dependents=True)
        db, web = await room.control.restart(OPERATOR, ["db"], ask)
        assert (db.after, db.changed) == ("ready", True), "it leaves once web is down"
        assert (web.after, web.changed) == ("stopping", True)


# Signals.


async def test_a_signal_the_keeper_refuses_is_a_conflict() -> None:
    class Refuses(FakeKeeper):
        async def signal(self, run: str, signal: str, scope: str) -> None:
            raise ConflictError(f"the keeper refuses {signal} to {run}: no run")

    async with a_room(one("web"), keeper=Refuses()) as room:
        with pytest.raises(ConflictError, match="the keeper refuses SIGHUP"):
            await room.control.signal(OPERATOR, ["web"], "SIGHUP", "leader")


# What is remembered and written down.


async def test_a_stop_by_hand_is_remembered_where_the_fleet_says_so() -> None:
    async with a_room(one("db"), one("web", "db"), remember_stops=True) as room:
        await room.control.stop(OPERATOR, ["db"], Ask(with_dependents=True, reason="disk"))
        holds = room.desk.journal.holds()
        assert sorted(holds) == ["db", "web"], "web would start again without it"
        assert (holds["db"].who, holds["db"].reason) == (OPERATOR.name, "disk")
        await room.control.start(OPERATOR, ["db"], QUICK)
        assert sorted(room.desk.journal.holds()) == ["web"]
        await room.control.restart(OPERATOR, ["web"], QUICK)
        assert room.desk.journal.holds() == {}


async def test_a_stop_by_hand_is_not_remembered_by_default() -> None:
    async with a_room(one("web")) as room:
        await room.control.stop(OPERATOR, ["web"], QUICK)
        assert room.desk.journal.holds() == {}


async def test_a_change_is_announced_before_and_its_result_is_written_after() -> None:
    async with a_room(one("web")) as room:
        await room.control.stop(OPERATOR, ["web"], Ask(reason="lunch"))
        kinds = [event.kind for event in await room.desk.journal.events(EventQuery(limit=1000))]
        assert kinds.index("control.stop") < kinds.index("service.stopping") < kinds.index("control.result")
        assert room.desk.supervisor.services["web"].down_reason is DownReason.OPERATOR


async def test_a_journal_that_cannot_write_does_not_keep_an_operator_from_stopping_a_service() -> None:
    async with a_room(one("web")) as room:

        async def full(event: Event) -> Event:
            raise JournalError("disk full")

        journal: MemoryJournal = room.desk.journal
        journal.record = full  # type: ignore[method-assign]
        (result,) = await room.control.stop(OPERATOR, ["web"], QUICK)
        assert result.after == "stopped"


async def test_a_reload_that_is_refused_changes_nothing_and_is_told() -> None:
    error = ConfigError("web: port 99999 is over 65535", hint="give it another", path="a.json", line=3)
    async with a_room(one("web"), load_error=error) as room:
        with pytest.raises(ConfigError, match="over 65535"):
            await room.control.reload(ADMIN)
        assert room.desk.state("web") is State.READY


async def test_a_shutdown_says_how_many_were_up_and_why_is_written_down() -> None:
    async with a_room(one("web"), one("db")) as room:
        assert not room.control.is_stopping()
        assert await room.control.shutdown(ADMIN, "night") == 2
        assert room.control.is_stopping()
        (event,) = await room.audit()
        assert (event.data["verb"], event.data["reason"], event.data["result"]) == (
            "shutdown",
            "night",
            {"stopping": 2},
        )


# Replicas.


@asynccontextmanager
async def replicas(count: int, keeper: FakeKeeper | None = None) -> AsyncGenerator[Room]:
    fleet = replicas_of("web", count, restart={"policy": "never"})
    async with a_room(*fleet.services.values(), keeper=keeper) as room:
        room.desk.supervisor.rewire(fleet)
        await anyio.sleep(5)
        yield room


async def test_a_rolling_restart_is_answered_when_the_last_is_ready_again() -> None:
    async with replicas(3) as room:
        runs = {name: room.desk.run(name) for name in room.desk.supervisor.services}
        results = await room.control.roll(OPERATOR, ["web"], QUICK, 1)
        assert [(one.name, one.ok, one.after) for one in results] == [
            ("web@1", True, "ready"),
            ("web@2", True, "ready"),
            ("web@3", True, "ready"),
        ]
        assert not set(runs.values()) & {room.desk.run(name) for name in runs}
        assert [event.kind for event in await room.audit()] == ["control.restart", "control.result"]


async def test_those_whom_a_stopped_roll_left_are_told_why() -> None:
    keeper = FakeKeeper()

    def spawn(order: SpawnOrder) -> None:
        keeper.begin(order.run)
        if order.slot == "web@2" and keeper.slots().count("web@2") > 1:
            keeper.end(order.run, 3)

    keeper.on_spawn = spawn
    async with replicas(3, keeper) as room:
        results = await room.control.roll(OPERATOR, ["web"], QUICK, 1)
        assert [one.ok for one in results] == [True, False, False]
        words = "stopped at web@2: exit code 3; left as they are: web@3"
        assert results[2].message.endswith(words)
        assert results[2].after == "ready"


async def test_a_replica_that_is_stopped_is_passed_over() -> None:
    async with replicas(2) as room:
        await room.control.stop(OPERATOR, ["web@1"], QUICK)
        results = await room.control.roll(OPERATOR, ["web"], QUICK, 1)
        assert [(one.name, one.ok, one.after) for one in results] == [
            ("web@1", True, "stopped"),
            ("web@2", True, "ready"),
        ]


async def test_a_roll_that_takes_longer_than_the_caller_waits_goes_on() -> None:
    async with replicas(3) as room:
        results = await room.control.roll(OPERATOR, ["web"], Ask(patience=0.5), 1)
        assert not any(one.ok for one in results)
        with anyio.fail_after(10):
            await room.desk.supervisor.roller.wait_over(["web"])
        await settle()
        assert room.desk.keeper.slots().count("web@3") == 2


async def test_a_scale_tells_of_those_that_come_and_go() -> None:
    async with replicas(2) as room:
        more = await room.control.scale(OPERATOR, {"web": 3}, QUICK)
        assert [(one.name, one.ok, one.after) for one in more] == [("web@3", True, "ready")]
        fewer = await room.control.scale(OPERATOR, {"web": 1}, QUICK)
        assert {(one.name, one.ok, one.after) for one in fewer} == {
            ("web@3", True, "stopped"),
            ("web@2", True, "stopped"),
        }
        assert room.control.told()[:1] == ["web@1"]
        audit = [event for event in await room.audit() if event.kind == "control.scale"]
        assert "scale web=3" in audit[0].message


async def test_a_scale_of_what_has_no_replicas_changes_nothing() -> None:
    async with replicas(2) as room:
        orders = list(room.desk.keeper.orders)
        with pytest.raises(UnknownService, match="no service 'wen' with replicas"):
            await room.control.scale(OPERATOR, {"web": 5, "wen": 1}, QUICK)
        with pytest.raises(ControlDenied):
            await room.control.scale(VIEWER, {"web": 5}, QUICK)
        assert room.desk.keeper.orders == orders


async def test_names_with_replicas_stand_in_reports_with_group_and_number() -> None:
    async with replicas(2) as room:
        reports = [room.control.report(name, room.control.now()) for name in room.control.told(["web"])]
        found = [(report.group, report.replica) for report in reports]
        assert found == [("web", 1), ("web", 2)]


# Runs that are asked for.


async def test_a_run_is_waited_for_to_its_end_and_its_success_is_the_answer() -> None:
    async with a_room(JOB) as room, anyio.create_task_group() as tasks:
        answers: list[tuple[bool, str]] = []

        async def ask() -> None:
            (result,) = await room.control.run(OPERATOR, ["job"], Ask(reason="now"))
            answers.append((result.ok, result.after))

        for code in (0, 3):
            tasks.start_soon(ask)
            await room.desk.until("job", State.RUNNING)
            assert "run by olga" in str(
                room.desk.journal.last_seq() and [e.message for e in await starts(room)]
            )
            room.desk.keeper.end(room.desk.run("job"), code)
            await settle()
        assert answers == [(True, "completed"), (False, "failed")]


async def starts(room: Room) -> list[Event]:
    return await room.desk.journal.events(EventQuery(kind_prefix="service.starting"))


async def test_a_run_does_not_move_the_schedule() -> None:
    async with a_room(JOB) as room:
        before = room.control.report(JOB.name, room.control.now())
        await anyio.sleep(100)
        await room.control.run(OPERATOR, ["job"], Ask(wait=False))
        after = room.control.report(JOB.name, room.control.now())
        assert after.next_run == before.next_run


async def test_a_daemon_one_that_is_stopped_and_one_that_skips_overlap_refuse_and_nothing_is_run() -> None:
    off = JOB.model_copy(update={"name": "off"})
    async with a_room(JOB, off, one("web")) as room:
        await room.control.stop(OPERATOR, ["off"], QUICK)
        for name, error, text in (
            ("web", InvalidRequest, "web is a daemon"),
            ("off", ConflictError, "off is stopped"),
        ):
            with pytest.raises(error, match=text) as caught:
                await room.control.run(OPERATOR, ["job", name], QUICK)
            assert caught.value.hint
        assert room.desk.keeper.slots() == ["web"]
        await room.control.run(OPERATOR, ["job"], Ask(wait=False))
        with pytest.raises(ConflictError, match="a run of job is not over"):
            await room.control.run(OPERATOR, ["job"], QUICK)


@pytest.mark.parametrize(("overlap", "runs"), [("queue", 2), ("replace", 2)])
async def test_a_run_that_overlaps_waits_or_replaces_as_the_schedule_says(overlap: str, runs: int) -> None:
    spec = one(
        "job", kind="periodic", schedule={"every": 3600, "overlap": overlap}, restart={"policy": "never"}
    )
    async with a_room(spec) as room:
        for _ in range(2):
            await room.control.run(OPERATOR, ["job"], Ask(wait=False))
            await settle()
        assert len(room.desk.keeper.of("stop")) == (1 if overlap == "replace" else 0)
        if overlap == "queue":
            room.desk.keeper.end(room.desk.run("job"))
            await settle()
        assert len(room.desk.keeper.slots()) == runs


async def test_of_a_once_service_a_run_is_a_start() -> None:
    async with a_room(one("setup", kind="once")) as room:
        room.desk.keeper.end(room.desk.run("setup"))
        await settle()
        await room.control.run(OPERATOR, ["setup"], Ask(wait=False))
        assert room.desk.keeper.slots() == ["setup", "setup"]


async def test_a_periodic_service_that_is_started_or_restarted_goes_by_its_schedule_and_is_done_waiting() -> (
    None
):
    async with a_room(JOB) as room:
        for verb in (room.control.restart, room.control.start):
            assert [result.ok for result in await verb(OPERATOR, ["job"], QUICK)] == [True]
        assert room.desk.keeper.slots() == []
