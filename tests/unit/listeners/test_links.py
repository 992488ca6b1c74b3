"""The pipes of listeners: what comes of things that happen in one turn of the loop."""

import os
import selectors
import subprocess
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from orchestra_supervisor.listeners.links import Links


class Desk:
    """Links, and the far ends of what they were given."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.said: list[bytes] = []
        self.links = Links(self.selector, lambda service: self.said.append(self.links.read(service)))
        self._far: list[int] = []

    def begin(self, run: str) -> tuple[int, int]:
        """Give a run's pipes; return the ends that it has: stdin and stdout."""
        stdin, ours_in = os.pipe()
        ours_out, stdout = os.pipe()
        self._far += [stdin, stdout]
        self.links.put("s", run, ours_in, ours_out)
        return stdin, stdout

    def ready(self) -> list[Callable[[int], None]]:
        """Return what is to be called in this turn."""
        return [cast("Callable[[int], None]", key.data) for key, _ in self.selector.select(5)]

    def close(self) -> None:
        self.links.drop("s")
        for descriptor in self._far:
            os.close(descriptor)
        self.selector.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def test_what_a_run_says_in_the_turn_in_which_it_is_let_go_of_disturbs_nobody(desk: Desk) -> None:
    _, stdout = desk.begin("s-1")
    desk.links.listen("s")
    os.write(stdout, b"READY\n")
    turn = desk.ready()
    desk.links.drop("s")
    for call in turn:
        call(selectors.EVENT_READ)
    assert desk.said == [b""]


def test_room_in_the_stdin_of_a_run_that_another_has_followed_disturbs_nobody(desk: Desk) -> None:
    stdin, _ = desk.begin("s-1")
    assert desk.links.write("s", b"x" * 1_000_000)
    os.read(stdin, 1_000_000)
    turn = desk.ready()
    desk.begin("s-2")
    for call in turn:
        call(selectors.EVENT_WRITE)
    assert desk.links.half_told == frozenset()


def test_a_flood_of_whoever_is_left_is_not_heard_to_its_end(desk: Desk) -> None:
    _, stdout = desk.begin("s-1")
    desk.links.listen("s")
    with subprocess.Popen("yes | head -c 500000000", shell=True, stdout=stdout) as flood:
        desk.ready()
        heard = sum(len(data) for data in desk.links.rest("s"))
        assert 0 < heard < 10_000_000
        desk.links.drop("s")
        os.close(stdout)
        desk._far.remove(stdout)
        assert flood.wait(10) != 0
