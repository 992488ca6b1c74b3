"""Services that are told to read their own configuration again."""

import anyio
import pytest

from orchestra_supervisor.engine.telling import Teller
from orchestra_supervisor.model.equipment import HookSpec, ReloadSpec
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.process.orders import SpawnOrder
from tests.unit.engine.desk import Desk, FakeKeeper, fleet_of, running

pytestmark = pytest.mark.anyio


class Obeying(FakeKeeper):
    """Ends each command beside a service with a code; None: it hangs until it is killed."""

    def __init__(self, code: int | None = 0) -> None:
        super().__init__()
        self.code = code
        self.on_spawn = self._spawned

    def _spawned(self, order: SpawnOrder) -> None:
        self.begin(order.run)
        if order.slot.startswith("probe:") and self.code is not None:
            self.end(order.run, self.code)


def spec(reload: ReloadSpec | None) -> ServiceSpec:
    return ServiceSpec(name="web", argv=("x",), cwd="/", reload=reload)


async def tell(desk: Desk, *, by_default: bool = False) -> str:
    teller = Teller(desk.supervisor, desk.keeper)
    return await teller.tell_to_reload(desk.supervisor.services["web"], by_default=by_default)


async def test_a_signal_goes_to_the_main_process() -> None:
    async with running(fleet_of(spec(ReloadSpec(signal="SIGUSR1")))) as desk:
        assert await tell(desk) == "sent SIGUSR1"
        assert ("signal", desk.run("web"), "SIGUSR1", "leader") in desk.keeper.orders


async def test_a_command_is_run_as_the_service_is_and_its_end_is_waited_for() -> None:
    command = ReloadSpec(command=HookSpec(argv=("app", "reload"), timeout=5))
    keeper = Obeying()
    async with running(fleet_of(spec(command)), keeper=keeper) as desk:
        assert await tell(desk) == "told by app"
        order = keeper.spawned[-1]
        assert (order.slot, order.argv) == ("probe:web:reload", ("app", "reload"))


async def test_a_command_that_fails_is_an_error_and_the_service_runs_on() -> None:
    command = ReloadSpec(command=HookSpec(argv=("app",)))
    async with running(fleet_of(spec(command)), keeper=Obeying(4)) as desk:
        run = desk.run("web")
        with pytest.raises(ConflictError, match="exit code 4"):
            await tell(desk)
        assert desk.run("web") == run


async def test_a_command_that_hangs_is_killed_and_told() -> None:
    command = ReloadSpec(command=HookSpec(argv=("app",), timeout=5))
    keeper = Obeying(None)
    async with running(fleet_of(spec(command)), keeper=keeper) as desk:
        began = anyio.current_time()
        with pytest.raises(ConflictError, match="no end within 5 s"):
            await tell(desk)
        assert anyio.current_time() - began == 5.0
        assert keeper.of("stop") == [keeper.spawned[-1].run]


async def test_one_without_a_way_is_refused_unless_whoever_asks_has_a_default() -> None:
    async with running(fleet_of(spec(None))) as desk:
        with pytest.raises(ConflictError, match="has no `reload`") as refused:
            await tell(desk)
        assert "orchestra restart web" in (refused.value.hint or "")
        assert await tell(desk, by_default=True) == "sent SIGHUP"


async def test_one_that_does_not_run_is_told_nothing() -> None:
    disabled = spec(ReloadSpec(signal="SIGHUP")).model_copy(update={"enabled": False})
    async with running(fleet_of(disabled)) as desk:
        desk.verbs.stop(["web"], "by hand", with_dependents=False)
        keeper = desk.keeper
        await anyio.sleep(1)
        assert await tell(desk) == ""
        assert keeper.of("signal") == []
