"""Which programs are started without a fork: those that need nothing done in the child."""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestra_supervisor.keeper.handover import Handed
from orchestra_supervisor.keeper.request import parse_spawn
from orchestra_supervisor.keeper.spawn import Spawned, Surroundings, close_all, new_tag, spawn_run


@pytest.fixture
def start() -> Iterator[Callable[..., Spawned]]:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    around = Surroundings(null, resource.getrlimit(resource.RLIMIT_NOFILE), 1024, here)
    started: list[Spawned] = []

    def start(handed: Handed | None = None, **extra: Any) -> Spawned:
        message = {"run": "a-1", "slot": "a", "argv": ["sleep", "1000"], "direct": True, "log": None}
        message |= {"env": {"PATH": os.environ["PATH"]}, **extra}
        spawned = spawn_run(parse_spawn(message), around, handed or Handed(new_tag(1)))
        started.append(spawned)
        return spawned

    yield start
    for spawned in started:
        os.kill(spawned.pid, signal.SIGKILL)  # our child, not reaped yet
        os.waitpid(spawned.pid, 0)
        if spawned.status_fd is not None:
            os.close(spawned.status_fd)
    close_all([null, here])


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"cwd": "/"},
        {"umask": 0o22},
        {"notify": True},
        {"stop_order": 3},
        {"after": [{"argv": ["x"], "timeout": 1}]},
    ],
    ids=str,
)
def test_it_has_been_executed_when_the_spawn_returns(
    start: Callable[..., Spawned], extra: dict[str, Any]
) -> None:
    assert start(**extra).status_fd is None


@pytest.mark.parametrize(
    "extra",
    [
        {"direct": False},
        {"before": [{"argv": ["true"], "timeout": 5}]},
        {"rlimits": {"core": [0, None]}},
        {"nice": 1},
        {"oom_score_adj": 1},
        {"watchdog": 5},
        {"argv": ["no-such-program"]},
        {"cwd": "/no/such/directory"},
    ],
    ids=str,
)
def test_else_it_is_forked(start: Callable[..., Spawned], extra: dict[str, Any]) -> None:
    assert start(**extra).status_fd is not None


def test_one_that_is_handed_sockets_is_forked(start: Callable[..., Spawned]) -> None:
    with socket.socket() as listening:
        assert start(Handed(new_tag(2), sockets=(("web", listening.fileno()),))).status_fd is not None
