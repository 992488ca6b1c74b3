"""Fleets for the tests of the control endpoint, and the proof that they leave nothing behind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, marked, until


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A folder for a fleet, ended after the test."""
    one = Fleet(tmp_path)
    yield one
    one.end()


@pytest.fixture(scope="module")
def make_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Fleet]]:
    """Makes folders for fleets that several tests share."""
    made: list[Fleet] = []

    def make(name: str) -> Fleet:
        made.append(Fleet(tmp_path_factory.mktemp(name)))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After each file: no process and no socket of any of its fleets."""
    yield
    folder = f"{tmp_path_factory.getbasetemp()}/"
    until(lambda: not marked(folder), f"no process of {folder} is left; there are {marked(folder)}")
