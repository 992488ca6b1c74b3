"""Servers that take what they are sent and answer nothing are ended where they are to be, and in no haste."""

import signal

import anyio
import pytest

from orchestra_supervisor.gateway.backends import instance
from orchestra_supervisor.gateway.messages import CONNECTION_CLOSED, RpcError
from tests.e2e.gateway.clients import Client
from tests.e2e.gateway.conftest import World, raw, settings, state, stdio, until, until_ready

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask often, and wait for no answer for long."""
    monkeypatch.setattr(instance, "_PROBE_EVERY", 0.1)
    monkeypatch.setattr(instance, "_PROBE_LIMIT", 0.1)
    monkeypatch.setattr(instance, "_BUSY_LIMIT", 0.1)


def freeze(world: World, service: str) -> None:
    world.keeper.processes[service].send_signal(signal.SIGSTOP)


def asked_to_end(world: World) -> list[str]:
    return [line for line in world.keeper.log if line.startswith("hung")]


async def test_a_server_that_hangs_is_ended_once_and_its_clients_go_on(world: World) -> None:
    backend = stdio("s", timeout=1.5, on_hang="restart")
    async with world.gateway(settings(backend), {"s": raw("good")}) as catalog:
        await until_ready(catalog, "s")
        client, other = Client(catalog.aggregate()), Client(catalog.aggregate())
        await client.text("s__read")
        pid = world.keeper.pid("s")
        freeze(world, "s")
        errors: list[RpcError] = []

        async def call() -> None:
            await anyio.sleep(0.5)  # its own deadline is later than the end of the server
            try:
                await other.text("s__read")
            except RpcError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
        assert errors[0].code == CONNECTION_CLOSED, errors
        assert await client.text("s__read") == "1", "another process counts from the beginning"
        assert world.keeper.pid("s") != pid
        assert len(asked_to_end(world)) == 1
        await until_ready(catalog, "s")


async def test_a_server_that_is_only_to_be_reported_is_left_alone(world: World) -> None:
    backend = stdio("s", timeout=0.1, on_hang="report")
    async with world.gateway(settings(backend), {"s": raw("good")}) as catalog:
        await until_ready(catalog, "s")
        freeze(world, "s")
        await until(lambda: "left 8 questions" in str(state(catalog, "s")["why"]))
        assert state(catalog, "s")["state"] == "down"
        assert not asked_to_end(world)
        world.keeper.processes["s"].send_signal(signal.SIGCONT)
        await until_ready(catalog, "s")


async def test_a_server_that_may_still_be_working_on_a_call_is_not_ended(world: World) -> None:
    backend = stdio("s", timeout=600.0, on_hang="restart")
    async with world.gateway(settings(backend), {"s": raw("good")}) as catalog:
        await until_ready(catalog, "s")
        freeze(world, "s")
        await until(lambda: "left 8 questions" in str(state(catalog, "s")["why"]))
        assert not asked_to_end(world)
        world.keeper.processes["s"].send_signal(signal.SIGCONT)
        await until_ready(catalog, "s")
