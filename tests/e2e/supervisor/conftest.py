"""Pairs of a real supervisord and Orchestra, and the proof that they leave nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import marked, until
from tests.e2e.supervisor.pair import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two folders, ended after the test."""
    one = Pair(tmp_path)
    yield one
    one.end()


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After each file: no process or socket of any of its pairs."""
    yield
    folder = f"{tmp_path_factory.getbasetemp()}/"
    until(lambda: not marked(folder), f"no process of {folder} is left; there are {marked(folder)}")
    # A process that ends has no environment any more before its sockets are closed.
    until(lambda: not sockets(folder), f"no socket in {folder} is left; there are {sockets(folder)}")


def sockets(folder: str) -> list[str]:
    table = Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()
    return [line for line in table if folder in line]
