"""A gateway without a front: a catalog over real servers, which a stand-in for the keeper runs."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import pytest

from orchestra_supervisor.gateway.backends.callbacks import Callbacks, NotDone
from orchestra_supervisor.gateway.catalog.catalog import Catalog, make_catalog
from orchestra_supervisor.gateway.messages import Json
from tests.e2e.gateway.front_driver import Front, running_front
from tests.e2e.gateway.keeper_stand_in import StandIn

HERE = Path(__file__).parent
SDK = [sys.executable, str(HERE / "sdk_server.py")]


def raw(kind: str) -> list[str]:
    return [sys.executable, str(HERE / "raw_server.py"), kind]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def stdio(name: str, **more: object) -> Json:
    return {"name": name, "transport": "stdio", "service": name, "members": [name], "timeout": 10.0, **more}


def http(name: str, url: str, **more: object) -> Json:
    return {"name": name, "transport": "http", "url": url, "timeout": 10.0, **more}


def settings(*backends: Json, **more: object) -> Json:
    return {"settings": {"pins": "flag", **more}, "backends": list(backends)}


async def until(met: Callable[[], object], within: float = 15.0) -> None:
    """Wait for something that announces itself to nobody here."""
    with anyio.fail_after(within):
        while not met():
            await anyio.sleep(0.01)


async def until_ready(catalog: Catalog, *names: str) -> None:
    await until(lambda: all(state(catalog, name)["state"] == "ready" for name in names))


def state(catalog: Catalog, name: str) -> Json:
    rows = cast("list[Json]", catalog.report()["backends"])
    return next(row for row in rows if row["name"] == name)


Gateway = Callable[..., AbstractAsyncContextManager[Catalog]]


class World:
    """A home and a keeper, in which gateways live one after another."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.keeper = StandIn(home, {})
        self.scaled: list[tuple[str, int]] = []
        self.http: dict[str, tuple[HttpServers, int]] = {}
        """Services that are HTTP servers."""

    @asynccontextmanager
    async def gateway(
        self, answer: Json, commands: dict[str, Sequence[str]] | None = None
    ) -> AsyncIterator[Catalog]:
        for service, command in (commands or {}).items():
            self.keeper.add(service, command)
        given = self.keeper.connect()
        catalog = make_catalog(answer, channel=given, callbacks=self._callbacks(), home=self.home)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.keeper.run)
                group.start_soon(catalog.run)
                yield catalog
                group.cancel_scope.cancel()
        finally:
            self.keeper.disconnect()

    def _callbacks(self) -> Callbacks:
        async def headers(backend: str) -> dict[str, str]:
            return {"Authorization": f"Bearer of-{backend}"}

        async def scale(service: str, replicas: int) -> list[str]:
            self.scaled.append((service, replicas))
            names = [service, *(f"{service}-{number}" for number in range(2, replicas + 1))]
            for name in names:
                self.keeper.add(name, self.keeper.commands[service])
            return names

        async def start(service: str) -> None:
            if service in self.http:
                self.keeper.log.append(f"start {service}")
                servers, port = self.http[service]
                await servers.start(port)
                return
            if service not in self.keeper.commands:
                raise NotDone(f"there is no service {service}")
            await self.keeper.start(service)

        async def stop(service: str) -> None:
            if service in self.http:
                self.keeper.log.append(f"stop {service}")
                servers, port = self.http[service]
                servers.kill(port)
                return
            await self.keeper.stop(service)

        async def hung(service: str, why: str) -> None:
            self.keeper.log.append(f"hung {service}: {why}")
            self.keeper.kill(service)

        return Callbacks(start=start, stop=stop, scale=scale, headers=headers, hung=hung)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.keeper.close()


class HttpServers:
    """HTTP servers as real processes, each on a port of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._commands: dict[int, Sequence[str]] = {}

    def port(self, *command: str) -> int:
        """Choose a port for a server; it is not started yet."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
        self._commands[port] = [sys.executable, *command, str(port)]
        return port

    async def start(self, port: int) -> None:
        assert port not in self._processes
        with (self._directory / f"{port}.err").open("ab") as errors:
            command = self._commands[port]
            self._processes[port] = subprocess.Popen(command, stdout=errors, stderr=errors)  # noqa: ASYNC220
        with anyio.fail_after(20):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                except OSError:
                    await anyio.sleep(0.02)
                else:
                    return

    def kill(self, port: int) -> None:
        process = self._processes.pop(port)
        process.kill()
        process.wait()

    def close(self) -> None:
        for port in list(self._processes):
            self.kill(port)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[HttpServers]:
    servers = HttpServers(tmp_path)
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def front_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("front")


@pytest.fixture(scope="module")
def front(front_home: Path) -> Generator[Front]:
    """A front alone, whose HTTP address is open to all on this host."""
    with running_front(front_home, "--open") as running:
        yield running
