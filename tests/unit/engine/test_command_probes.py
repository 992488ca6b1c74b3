import anyio
import pytest

from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.model.spec import CommandCheck, ProbeSet, ProbeSpec, ServiceSpec, StopSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.orders import HeldRun, ReplaceAsked, SpawnOrder
from orchestra_supervisor.rules.inputs import Spawned
from tests.unit.engine.desk import FakeKeeper, fleet_of, running, settle

pytestmark = pytest.mark.anyio

SLOT = "probe:web:readiness"


def web(**fields: float) -> ServiceSpec:
    probe = ProbeSpec.model_validate(
        {"check": CommandCheck(argv=("check", "it")), "period": 10.0, "timeout": 2.0, **fields}
    )
    return ServiceSpec(
        name="web", argv=("x",), cwd="/srv", env={"A": "1"}, user="u", probes=ProbeSet(readiness=probe)
    )


class ProbingKeeper(FakeKeeper):
    """Ends each probe command as the test says; None: it hangs until it is killed."""

    def __init__(self, *codes: int | None) -> None:
        super().__init__()
        self.codes = list(codes)
        self.on_spawn = self._spawned

    def _spawned(self, order: SpawnOrder) -> None:
        self.begin(order.run)
        if order.slot.startswith("probe:"):
            code = self.codes.pop(0) if self.codes else 0
            if code is not None:
                self.end(order.run, code)

    def probes(self) -> list[SpawnOrder]:
        return [order for order in self.spawned if order.slot == SLOT]


async def test_a_command_that_ends_with_zero_makes_its_service_ready() -> None:
    keeper = ProbingKeeper(0)
    async with running(fleet_of(web()), keeper=keeper) as desk:
        await desk.until("web", State.READY)
        (order,) = keeper.probes()
        assert (order.argv, order.cwd, order.user, order.env["A"]) == (("check", "it"), "/srv", "u", "1")
        assert order.log is not None
        assert order.log.path == "/h/logs/web.probe.log"
        assert ("ack", order.run) in keeper.orders


async def test_a_command_that_ends_otherwise_does_not() -> None:
    keeper = ProbingKeeper(3, 3, 3)
    async with running(fleet_of(web()), keeper=keeper) as desk:
        assert desk.state("web") is State.RUNNING
        assert "3" in desk.supervisor.services["web"].probe_error
        await desk.until("web", State.READY)
        assert len(keeper.probes()) == 4


async def test_a_command_over_its_time_is_killed_and_its_slot_is_free_for_the_next() -> None:
    keeper = ProbingKeeper(None, 0)
    async with running(fleet_of(web()), keeper=keeper) as desk:
        await anyio.sleep(1.9)
        assert not keeper.of("stop")
        await desk.until("web", State.READY)
        first, second = keeper.probes()
        assert ("stop", first.run, StopSpec(steps=())) in keeper.orders, "nothing waits for a grace"
        assert keeper.orders.index(("ack", first.run)) < keeper.orders.index(("spawn", second.run))


async def test_a_command_that_cannot_be_run_says_why() -> None:
    keeper = FakeKeeper()

    def refuse(order: SpawnOrder) -> None:
        if order.slot == SLOT:
            keeper.refuse(order.run, "exec", "No such file: check")
        else:
            keeper.begin(order.run)

    keeper.on_spawn = refuse
    async with running(fleet_of(web()), keeper=keeper) as desk:
        error = desk.supervisor.services["web"].probe_error
        assert error == "could not run: No such file: check (exec)"


async def test_a_secret_that_is_missing_is_said_and_runs_nothing() -> None:
    async def missing(env: dict[str, str]) -> dict[str, str]:
        raise SecretError("no secret 'x'")

    keeper = ProbingKeeper()
    async with running(fleet_of(web()), keeper=keeper, secrets=missing) as desk:
        assert desk.supervisor.services["web"].probe_error == "no secret 'x'"
        assert keeper.probes() == []


async def test_a_service_that_stops_takes_the_command_of_its_probe_along() -> None:
    keeper = ProbingKeeper(None)
    async with running(fleet_of(web(timeout=500.0)), keeper=keeper) as desk:
        (order,) = keeper.probes()
        desk.verbs.stop(["web"], "by hand", with_dependents=False)
        await desk.until("web", State.STOPPED)
        await settle()
        assert order.run in keeper.of("stop")
        assert order.run in keeper.of("ack")


async def test_a_command_left_by_the_last_daemon_is_waited_for_and_fails_nobody() -> None:
    keeper = ProbingKeeper(0)
    keeper.obeys = False
    async with running(fleet_of(web(failure_threshold=1)), keeper=keeper) as desk:
        await desk.until("web", State.READY)
        run, note = desk.run("web"), keeper.notes["web"]
    heir = ProbingKeeper(0)
    heir.obeys, heir.notes = False, {"web": note}
    left = f"{SLOT}-00000000ffff"
    snapshot = heir.snapshot(
        [
            HeldRun(run, "web", False, (Spawned(run, 5, 0.0, 0.0),)),
            HeldRun(left, SLOT, False, (Spawned(left, 6, 0.0, 0.0),)),
        ]
    )
    async with running(fleet_of(web(failure_threshold=1)), keeper=heir, snapshot=snapshot) as desk:
        assert heir.of("stop") == [left]
        assert heir.probes() == [], "the slot is not free"
        await anyio.sleep(1.0)
        heir.end(left)
        await settle()
        assert len(heir.probes()) == 1
        assert desk.state("web") is State.READY
        assert left in heir.of("ack")


async def test_a_daemon_that_makes_room_waits_for_no_command() -> None:
    keeper = ProbingKeeper(None)
    keeper.obeys = False
    async with running(fleet_of(web(timeout=500.0)), keeper=keeper) as desk:
        (order,) = keeper.probes()
        began = anyio.current_time()
        keeper.tell(ReplaceAsked())
        await settle()
        assert desk.supervisor.phase == "replaced"
        assert order.run in keeper.of("stop")
    assert anyio.current_time() - began < 0.1
