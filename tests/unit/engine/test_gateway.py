"""The gateway as a service: what is added to a fleet, that nobody counts it, and a port that is busy."""

import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.engine.gateway import RETRY, GatewayDesk, gateway_pid, http_address
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.equipment import LimitsSpec, SocketSpec
from orchestra_supervisor.model.mcp import GATEWAY, McpSettings
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    Fleet,
    FleetSettings,
    RestartSpec,
    ServiceSpec,
    StopSpec,
    StopStep,
)
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.orders import ListenRefused, SlotCalled
from tests.unit.engine.desk import Desk, running, settle

pytestmark = pytest.mark.anyio

HOME = Path("/h")
UNIX = SocketSpec(name="mcp", kind="unix", path="/h/mcp.sock", mode=0o600)


def fleet_of(**mcp: object) -> Fleet:
    settings = FleetSettings(mcp=McpSettings.model_validate(mcp))
    return Fleet(services={"web": ServiceSpec(name="web", argv=("x",), cwd="/")}, settings=settings)


def desk_of(**environ: str) -> GatewayDesk:
    return GatewayDesk(HOME, lambda path, _group: path, environ)


def http(port: int) -> SocketSpec:
    return SocketSpec(name="mcp_http", host="127.0.0.1", port=port)


def test_every_fleet_gets_one_that_waits_for_a_connection() -> None:
    fleet = desk_of().equip(fleet_of(http="127.0.0.1:8765"))
    assert list(fleet.services) == ["web", GATEWAY]
    assert fleet.services[GATEWAY] == ServiceSpec(
        name=GATEWAY,
        title="MCP gateway",
        description="Talks MCP: the control tools, and all MCP servers behind one endpoint.",
        argv=(sys.executable, "-P", "-m", "orchestra_supervisor.gateway"),
        cwd="/h",
        sockets=(UNIX, http(8765)),
        start_on="connection",
        channel=True,
        restart=RestartSpec(
            policy="on-failure",
            max_restarts=None,
            stable_after=10.0,
            backoff=BackoffSpec(initial=0.5, cap=30.0),
        ),
        stop=StopSpec(steps=(StopStep(wait=5.0),)),
        limits=LimitsSpec(memory=2 * 1024**3),
    )
    assert http_address(fleet) == "127.0.0.1:8765"


def test_it_can_be_done_without() -> None:
    equipped = desk_of().equip(fleet_of())
    assert equipped.services[GATEWAY].sockets == (UNIX,)
    assert http_address(equipped) is None
    without = equipped.model_copy(update={"settings": fleet_of(enabled=False).settings})
    assert list(desk_of().equip(without).services) == ["web"]


def test_its_socket_is_open_to_the_control_group() -> None:
    fleet = fleet_of()
    settings = fleet.settings.model_copy(update={"control_group": "staff"})
    [one] = desk_of().equip(fleet.model_copy(update={"settings": settings})).services[GATEWAY].sockets
    assert one == SocketSpec(name="mcp", kind="unix", path="/h/mcp.sock", mode=0o660, group="staff")


def test_another_program_can_be_run_in_its_place() -> None:
    spec = desk_of(ORCHESTRA_GATEWAY_COMMAND="python3 'a b.py' --x").equip(fleet_of()).services[GATEWAY]
    assert spec.argv == ("python3", "a b.py", "--x")


def test_what_the_last_daemon_had_applied_is_taken_as_it_is() -> None:
    applied = desk_of(ORCHESTRA_GATEWAY_COMMAND="old").equip(fleet_of())
    assert desk_of().adopt(applied) is applied
    assert list(desk_of().adopt(fleet_of()).services) == ["web", GATEWAY], "one of an older version"
    off = fleet_of(enabled=False)
    assert desk_of().adopt(off) is off


@asynccontextmanager
async def looked_after(**mcp: object) -> AsyncGenerator[Desk]:
    gateway = desk_of()
    async with running(gateway.equip(fleet_of(**mcp))) as desk, anyio.create_task_group() as tasks:
        tasks.start_soon(gateway.run, desk.supervisor, desk.kept.append, desk.bus, desk.clock)
        await settle()
        yield desk
        tasks.cancel_scope.cancel()


async def told(desk: Desk, kind: str) -> list[str]:
    return [one.message for one in await desk.journal.events(EventQuery(limit=1_000, kind_prefix=kind))]


async def test_nobody_counts_it() -> None:
    async with looked_after() as desk:
        assert desk.state(GATEWAY) is State.WAITING
        assert await told(desk, "fleet.ready") == ["1 of 1 services are ready"]
        assert gateway_pid(desk.supervisor.services) is None
        desk.keeper.tell(SlotCalled(GATEWAY, "mcp"))
        await settle()
        assert desk.state(GATEWAY) is State.READY
        assert gateway_pid(desk.supervisor.services) == 1002


async def test_one_that_ends_by_itself_waits_for_the_next_connection() -> None:
    async with looked_after() as desk:
        desk.keeper.tell(SlotCalled(GATEWAY, "mcp"))
        await settle()
        desk.keeper.end(desk.run(GATEWAY), 0)
        await settle()
        assert (desk.state(GATEWAY), desk.supervisor.services[GATEWAY].listening) == (State.WAITING, True)
        desk.keeper.tell(SlotCalled(GATEWAY, "mcp"))
        await settle()
        desk.keeper.end(desk.run(GATEWAY), None, "SIGKILL")
        await settle()
        assert desk.state(GATEWAY) is State.READY, "one that was killed is started at once"


async def test_a_port_that_is_somebody_elses_is_done_without_until_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        async with looked_after(http=f"127.0.0.1:{port}") as desk:
            text = f"socket mcp_http on 127.0.0.1:{port}: Address already in use"
            desk.keeper.tell(ListenRefused(GATEWAY, text))
            await settle()
            listens = [order[2] for order in desk.keeper.orders if order[0] == "listen"]
            assert listens == [(UNIX, http(port)), (UNIX,)]
            assert desk.state(GATEWAY) is State.WAITING
            assert http_address(desk.supervisor.fleet) is None
            assert http_address(desk.kept[-1]) is None, "the next daemon goes on with that"
            fault = f"127.0.0.1:{port}: Address already in use"
            said = f"MCP is not served over HTTP until the port is free: {fault}; `orchestra mcp` works"
            assert await told(desk, "gateway.") == [said]
            await _pass(RETRY + 1)
            assert http_address(desk.supervisor.fleet) is None
            other.close()
            await _pass(RETRY + 1)
            assert http_address(desk.supervisor.fleet) == f"127.0.0.1:{port}"
            assert [order[2] for order in desk.keeper.orders if order[0] == "listen"][-1] == (
                UNIX,
                http(port),
            )
            assert (await told(desk, "gateway."))[-1] == "MCP is served over HTTP again"


async def test_a_start_on_a_busy_port_is_done_without_it_too() -> None:
    async with looked_after(http="127.0.0.1:1") as desk:
        desk.keeper.on_spawn = lambda order: desk.keeper.refuse(
            order.run, "socket", "socket mcp_http on 127.0.0.1:1: Permission denied"
        )
        desk.verbs.start([GATEWAY], "by hand")
        await settle()
        assert desk.state(GATEWAY) is State.WAITING
        assert http_address(desk.supervisor.fleet) is None


async def test_any_other_fault_is_the_services_own() -> None:
    async with looked_after(http="127.0.0.1:1") as desk:
        desk.keeper.tell(ListenRefused(GATEWAY, "socket mcp on /h/mcp.sock: No such file or directory"))
        await settle()
        assert desk.state(GATEWAY) is State.FAILED
        assert http_address(desk.supervisor.fleet) == "127.0.0.1:1"
        assert desk.kept == []


async def _pass(seconds: float) -> None:
    await anyio.sleep(seconds)
    await settle()
