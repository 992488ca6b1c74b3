"""The processes of a run as they hang together, of real processes."""

import os
import signal
from collections.abc import Generator

import pytest

from orchestra_supervisor.process.tree import ProcessNote, tree_of
from tests.process.figures.test_figures import ORPHAN, RUN, STRAY, WITH_CHILD, House
from tests.process.keeper_driver import is_alive, wait_until


@pytest.fixture
def house(request: pytest.FixtureRequest) -> Generator[House]:
    one = House(request.param)
    yield one
    one.end()


def look(house: House) -> list[ProcessNote]:
    return tree_of(house.leader, RUN, house.process.pid)


@pytest.mark.parametrize("house", [WITH_CHILD], indirect=True)
def test_each_process_stands_after_the_one_that_started_it(house: House) -> None:
    child = house.hear()
    leader, below = look(house)
    assert [(one.pid, one.parent) for one in (leader, below)] == [(house.leader, 0), (child, house.leader)]
    assert leader.command[1:4] == ("-I", "-S", "-c")
    assert leader.cpu is not None
    assert leader.memory is not None
    assert leader.memory > 1_000_000
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not is_alive(child), "it has ended, and nobody has collected it")
    assert [one.pid for one in look(house)] == [house.leader]


@pytest.mark.parametrize(("house", "others"), [(STRAY, 1), (ORPHAN, 0)], indirect=["house"])
def test_what_its_parent_has_left_is_of_the_run_and_hangs_under_nobody(house: House, others: int) -> None:
    left = house.hear()
    found = look(house)
    assert [one.pid for one in found if one.pid != left] == [house.leader] * others
    assert (found[-1].pid, found[-1].parent) == (left, 0)


def test_of_a_run_that_is_gone_nothing_is_found() -> None:
    assert tree_of(2**22 - 1, "web-gone", 2**22 - 2) == []
