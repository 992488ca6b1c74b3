"""Who is told what of stdio servers: over real sockets, by a loop that is turned by hand."""

import errno
import gc
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.keeper import stdio
from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.inputs import Inputs
from orchestra_supervisor.keeper.loop import Loop
from orchestra_supervisor.keeper.request import Plan, SpawnRequest, parse_spawn
from orchestra_supervisor.keeper.runs import Run
from orchestra_supervisor.keeper.stdio import Stdio, Wiring
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message


class Desk:
    """A Stdio, and runs that are nothing but a record."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.stdio = Stdio(self.loop, Inputs(self.loop))
        self.runs: list[Run] = []
        self.ears: list[Channel] = []

    def start(self, name: str, *, is_server: bool = True, is_live: bool = True) -> Run:
        """Start a server that runs nowhere."""
        run = _run(name)
        self.runs.append(run)
        self.stdio.take(run, self.stdio.make(_request(name, stdio=is_server)))
        if is_live:
            self.stdio.announce(run)
        return run

    def listen(self, name: str, *, is_server: bool = False, buffer: int = 0) -> tuple[Run, Channel]:
        """Start a receiver; the test has its end of the channel."""
        run = _run(name)
        self.runs.append(run)
        wiring = self.stdio.make(_request(name, stdio=is_server, channel=True))
        assert wiring.ours is not None
        assert wiring.theirs is not None
        if buffer:
            wiring.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        ear = Channel(socket.socket(fileno=os.dup(wiring.theirs.fileno())))
        self.ears.append(ear)
        self.stdio.take(run, wiring)
        self.stdio.announce(run)
        return run, ear

    def turn(self) -> None:
        """Let the loop do what is due."""
        self.loop.call_later(0.0, self.loop.stop)
        self.loop.run()

    def hear(self, ear: Channel, count: int, deadline: float = 5.0) -> list[str]:
        """Return so many messages as words; their descriptors are closed."""
        heard: list[str] = []
        end = time.monotonic() + deadline
        while len(heard) < count:
            assert time.monotonic() < end, f"only {heard} of {count} messages"
            heard += self.take(ear)
            self.turn()
        return heard

    def take(self, ear: Channel) -> list[str]:
        """Return what is there now."""
        heard: list[str] = []
        while select.select([ear], [], [], 0)[0]:
            for message, fds in ear.on_readable():
                for fd in fds:
                    os.close(fd)
                heard.append(_word(message, len(fds)))
        return heard


def _word(message: Message, count: int) -> str:
    return " ".join(str(message[key]) for key in ("type", "run") if key in message) + f" {count}"


def _request(name: str, **flags: bool) -> SpawnRequest:
    return parse_spawn({"type": "spawn", "run": name, "slot": name, "argv": ["x"], "env": {}, **flags})


def _run(name: str) -> Run:
    return Run(name, name, 0, 0, 0.0, 0.0, Plan((), leader_only=False), 0, 0, None, {})


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def desk() -> Iterator[Desk]:
    gc.collect()  # what other tests of this process have let go of is closed now, not in the middle
    before = descriptors()
    desk = Desk()
    yield desk
    for run in desk.runs:
        desk.stdio.end(run)
    for ear in desk.ears:
        ear.close()
    desk.loop._selector.close()
    assert descriptors() == before, "nothing is left open"


def test_all_who_live_and_have_an_input_are_in_the_snapshot(desk):
    desk.start("a")
    desk.start("early", is_live=False)
    ended, over = desk.start("ended"), desk.start("over")
    desk.start("plain", is_server=False)
    desk.stdio.end(ended)
    assert desk.stdio.end_input(over)
    desk.start("b")
    _, ear = desk.listen("gw")
    assert desk.take(ear) == ["stdio a 2", "stdio b 2", "held 0"]


def test_each_end_is_told_once_and_only_of_what_was_told(desk):
    a, early = desk.start("a"), desk.start("early", is_live=False)
    _, ear = desk.listen("gw")
    for _ in range(2):
        desk.stdio.end_input(early)
        desk.stdio.end_input(a)
    desk.stdio.announce(early)
    desk.stdio.end(a)
    desk.stdio.end(early)
    assert desk.take(ear) == ["stdio a 2", "held 0", "stdio_end a 0"]


def test_end_of_input_is_known_for_what_is_a_server_and_as_long_as_it_is_one(desk):
    a, plain = desk.start("a"), desk.start("plain", is_server=False)
    assert [desk.stdio.end_input(run) for run in (a, a, plain)] == [True, True, False]
    desk.stdio.end(a)
    assert not desk.stdio.end_input(a)


def test_a_receiver_that_is_a_server_itself_is_told_of_by_others_alone(desk):
    _, first = desk.listen("gw")
    both, second = desk.listen("both", is_server=True)
    desk.start("a")
    desk.stdio.end(both)
    assert desk.take(first) == ["held 0", "stdio both 2", "stdio a 2", "stdio_end both 0"]
    assert _last_words(second) == ["held 0", "stdio a 2"]


def _last_words(ear: Channel) -> list[str]:
    """Return all that came before the end of a channel."""
    heard: list[str] = []
    while True:
        try:
            messages = ear.on_readable()
        except ChannelClosed:
            return heard
        for message, fds in messages:
            heard.append(_word(message, len(fds)))
            for fd in fds:
                os.close(fd)


def test_a_snapshot_may_be_longer_than_what_may_wait_and_waits_without_descriptors(desk, monkeypatch):
    monkeypatch.setattr(stdio, "_WAITING", 5)
    names = [f"s{number}" for number in range(60)]
    for name in names:
        desk.start(name)
    before = len(descriptors())
    _, ear = desk.listen("gw", buffer=4608)
    desk.turn()
    assert len(descriptors()) == before + 2, "both ends of the channel"
    late = desk.start("late")
    desk.stdio.end(late)
    heard = desk.hear(ear, 61)
    desk.turn()
    assert heard + desk.take(ear) == [*(f"stdio {name} 2" for name in names), "held 0"]


def test_one_who_lets_more_wait_is_cut_off_and_the_others_hear_on(desk, monkeypatch, capfd):
    monkeypatch.setattr(stdio, "_WAITING", 5)
    _, deaf = desk.listen("deaf", buffer=4608)
    _, ear = desk.listen("gw")
    names = [f"s{number}" for number in range(60)]
    for name in names:
        desk.start(name)
    assert desk.hear(ear, 61) == ["held 0", *(f"stdio {name} 2" for name in names)]
    said = capfd.readouterr().err
    assert "deaf: its channel is closed: it does not read, 7 messages wait for it\n" in said
    heard = _last_words(deaf)
    assert 0 < len(heard) < 50
    assert heard == ["held 0", *(f"stdio {name} 2" for name in names)][: len(heard)]


def test_a_receiver_that_has_gone_is_forgotten_at_the_next_word(desk):
    _, ear = desk.listen("gw")
    before = len(descriptors())
    ear.close()
    desk.start("a")
    assert len(descriptors()) == before, "two of the channel less, two of the server more"
    desk.start("b")


@pytest.mark.parametrize("spare", range(6))
def test_without_descriptors_to_spare_nothing_is_made_and_nothing_left_open(desk, monkeypatch, spare):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr("orchestra_supervisor.keeper.spawn._RESERVE", 0)
    before = descriptors()
    free = [os.dup(0) for _ in range(6)]
    for fd in free:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (sorted(free)[spare], hard))
    try:
        with pytest.raises(SpawnFailure) as caught:
            desk.stdio.make(_request("a", stdio=True, channel=True))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (caught.value.stage, caught.value.errno) == ("pipe", errno.EMFILE)
    assert descriptors() == before


def test_what_is_closed_twice_is_closed_once(desk):
    desk.stdio.make(_request("a", stdio=True, channel=True)).close()
    Wiring().close()
