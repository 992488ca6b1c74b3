"""Servers that the tests of one module share."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.e2e.servers.server_process import Server

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Generator[Start]:
    """Start servers that end with the module."""
    running: list[Server] = []
    try:

        def begin(
            name: str, *args: str, data: Path | None = None, env: dict[str, str] | None = None
        ) -> Server:
            directory = data or tmp_path_factory.mktemp(name)
            server = Server(name, directory, *args, env=env)
            running.append(server)
            server.wait_ready()
            return server

        yield begin
    finally:
        for server in running:
            server.send()
        for server in running:
            server.end()
