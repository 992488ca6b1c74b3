from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.model.errors import OrchestraError, SecretError
from orchestra_supervisor.model.spec import CommandCheck, DependencySpec, RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.local_files import LocalFiles
from orchestra_supervisor.process.orders import SpawnOrder
from orchestra_supervisor.rules.service import from_note
from tests.unit.engine.desk import FakeKeeper, fleet_of, running, settle

pytestmark = pytest.mark.anyio


def web(name: str = "web", **fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": name, "argv": ("x",), "cwd": "/", **fields})


SECRETIVE = web(env={"TOKEN": "secret:token", "PLAIN": "1"}, port=8000)


async def slowly(env: dict[str, str]) -> dict[str, str]:
    await anyio.sleep(5.0)
    return {
        name: value.replace("${secret:token}", "hunter2").replace("secret:token", "hunter2")
        for name, value in env.items()
    }


async def test_the_environment_is_the_inherited_one_the_services_own_and_ours() -> None:
    async with running(fleet_of(web(env={"A": "1"}, port=8000))) as desk:
        (order,) = desk.keeper.spawned
        assert order.env == {
            "PATH": "/bin",
            "A": "1",
            "ORCHESTRA_HOME": "/h",
            "ORCHESTRA_SERVICE": "web",
            "PORT": "8000",
        }
    bare = web(inherit_env=False, env={"PORT": "9"}, port=8000)
    async with running(fleet_of(bare)) as desk:
        env = desk.keeper.spawned[0].env
        assert ("PATH" in env, env["PORT"]) == (False, "9")


async def test_secrets_are_resolved_at_spawn_and_appear_nowhere_else() -> None:
    async with running(fleet_of(SECRETIVE), secrets=slowly) as desk:
        assert desk.keeper.spawned == []
        assert desk.state("web") is State.STARTING
        await desk.until("web", State.READY)
        (order,) = desk.keeper.spawned
        assert (order.env["TOKEN"], order.env["PLAIN"]) == ("hunter2", "1")
        assert order.log is not None
        assert order.log.secrets == ("hunter2",), "for the logger, which must not write it"
        assert not [name for name in order.env if name.startswith("=")]
        assert "hunter2" not in repr(desk.keeper.notes)
        assert "hunter2" not in repr(desk.supervisor.services)


async def test_a_stop_while_secrets_are_resolved_leaves_nothing_running() -> None:
    async with running(fleet_of(SECRETIVE), secrets=slowly) as desk:
        desk.verbs.stop(["web"], "by hand", with_dependents=False)
        await settle()
        assert desk.state("web") is State.STOPPED
        await anyio.sleep(60.0)
        assert desk.keeper.spawned == []
        assert desk.keeper.of("stop") == [], "the keeper has never heard of the run"


async def test_a_restart_while_secrets_are_resolved_spawns_once() -> None:
    async with running(fleet_of(SECRETIVE), secrets=slowly) as desk:
        desk.verbs.restart(["web"], "by hand", with_dependents=False)
        await desk.until("web", State.READY)
        await anyio.sleep(60.0)
        assert len(desk.keeper.spawned) == 1


async def test_a_missing_secret_is_a_spawn_that_failed_with_its_reason() -> None:
    async def missing(env: dict[str, str]) -> dict[str, str]:
        await anyio.sleep(1.0)
        raise SecretError("web: no secret 'token'")

    spec = SECRETIVE.model_copy(update={"restart": RestartSpec(policy="never")})
    async with running(fleet_of(spec), secrets=missing) as desk:
        await desk.until("web", State.FAILED)
        service = desk.supervisor.services["web"]
        assert service.reason == "could not start: web: no secret 'token' (secret)"
        assert desk.keeper.spawned == []


async def test_what_is_decided_while_secrets_are_resolved_goes_with_the_note_of_the_spawn() -> None:
    api = web("api", depends_on={"web": {"condition": "started"}})
    keeper = FakeKeeper(obeys=False)
    fleet = fleet_of(SECRETIVE, api)
    async with running(fleet, secrets=slowly, keeper=keeper) as desk:
        await desk.until("api", State.READY)
        keeper.end(desk.run("web"), 1)
        await settle()
        assert desk.state("web") is State.STARTING, "its secrets are resolved again"
        desk.verbs.stop(["web"], "by hand", with_dependents=True)
        await anyio.sleep(10.0)
        assert keeper.slots() == ["web", "api", "web"]
        held = from_note(SECRETIVE, keeper.notes["web"])
        assert held.is_leaving, "the next daemon must not take it for wanted"


async def test_an_environment_over_the_limit_fails_its_service_and_no_other() -> None:
    class Strict(FakeKeeper):
        def spawn(self, order: SpawnOrder, note: object) -> None:
            if "BIG" in order.env:
                raise OrchestraError("message 'spawn' has 5000000 bytes, over the limit of 4194304")
            super().spawn(order, note)

    big = web("big", env={"BIG": "x"}, restart={"policy": "never"})
    async with running(fleet_of(big, web("other")), keeper=Strict()) as desk:
        assert desk.state("other") is State.READY
        assert desk.state("big") is State.FAILED
        assert "over the limit" in desk.supervisor.services["big"].reason
        assert desk.supervisor.services["big"].reason.endswith("(order)")


async def test_services_that_are_free_start_by_priority() -> None:
    fleet = fleet_of(web("z", priority=1), web("a", priority=3), web("m", priority=2))
    async with running(fleet) as desk:
        assert desk.keeper.slots() == ["z", "m", "a"]
        desk.verbs.stop(["z", "a", "m"], "by hand", with_dependents=False)
        await settle()
        desk.keeper.spawned.clear()
        desk.verbs.start(["a", "m", "z"], "by hand")
        await settle()
        assert desk.keeper.slots() == ["z", "m", "a"]


async def test_dependents_that_become_free_together_start_by_priority() -> None:
    needs = {"db": DependencySpec()}
    fleet = fleet_of(
        web("a", priority=2, depends_on=needs), web("b", priority=1, depends_on=needs), web("db")
    )
    async with running(fleet) as desk:
        assert desk.keeper.slots() == ["db", "b", "a"]


async def test_the_note_is_with_the_keeper_before_the_stop_is() -> None:
    async with running(fleet_of(web())) as desk:
        desk.keeper.orders.clear()
        desk.verbs.stop(["web"], "by hand", with_dependents=False)
        await settle()
        verbs = [order[0] for order in desk.keeper.orders]
        assert (verbs[:2], verbs[-2:]) == (["note", "stop"], ["note", "ack"])


async def test_a_replica_is_told_its_number_and_how_many_there_are_and_nobody_inherits_that() -> None:
    spec = web(env={"ORCHESTRA_REPLICA": "2"}, replica={"group": "web", "number": 2, "count": 3})
    async with running(fleet_of(spec)) as desk:
        env = desk.keeper.spawned[0].env
        assert (env["ORCHESTRA_REPLICA"], env["ORCHESTRA_REPLICAS"]) == ("2", "3")
    environ = {"ORCHESTRA_REPLICA": "9", "ORCHESTRA_REPLICAS": "9"}
    launcher = Launcher(home=Path("/h"), log_directory=Path("/l"), environ=environ)
    assert not environ.keys() & launcher.order(web(), "web-1", stop_order=0).env.keys()


def test_the_keeper_may_wait_for_a_program_that_is_local_and_for_no_other() -> None:
    mounts = {"/": "ext4", "/srv": "nfs"}
    local = LocalFiles({"PATH": "/bin"}, lambda: mounts)
    launcher = Launcher(home=Path("/h"), log_directory=Path("/l"), environ={"PATH": "/bin"}, local=local)
    near, far = web(argv=("sh",), cwd="/"), web(argv=("sh",), cwd="/srv")
    assert not launcher.order(near, "web-1", stop_order=0).direct, "nobody has looked yet"
    anyio.run(local.look, [near, far])
    assert launcher.order(near, "web-1", stop_order=0).direct
    assert not launcher.order(far, "web-1", stop_order=0).direct
    check = CommandCheck(argv=("true",))
    assert not launcher.probe_order(near, check, "probe:web:liveness", "p-1").direct
    anyio.run(local.look, [web(argv=("sh",), cwd="/", probes={"liveness": {"check": check}})])
    assert launcher.probe_order(near, check, "probe:web:liveness", "p-1").direct
