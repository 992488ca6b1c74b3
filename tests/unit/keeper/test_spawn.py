"""Which programs are started without a fork: those that need nothing done in the child."""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestra_supervisor.keeper.direct import Footing
from orchestra_supervisor.keeper.handover import Handed
from orchestra_supervisor.keeper.request import parse_spawn
from orchestra_supervisor.keeper.spawn import Spawned, Surroundings, close_all, new_tag, spawn_run


@pytest.fixture
def start() -> Iterator[Callable[..., Spawned]]:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    footing = Footing(here, [os.dup(null) for _ in range(3)])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    started: list[Spawned] = []

    def start(handed: Handed | None = None, files: tuple[int, int] = limit, **extra: Any) -> Spawned:
        around = Surroundings(null, files, 1024, footing)
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
        close_all(list(spawned.streams.values()))
    close_all([null, here, *footing.low])


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


def test_descriptors_over_the_programs_limit_are_no_hindrance(start: Callable[..., Spawned]) -> None:
    taken = [os.dup(0) for _ in range(100)]
    soft = max(taken) - 20  # those that it gets are made after these
    try:
        script = "ulimit -n; exec sleep 1000"
        spawned = start(
            files=(soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
            argv=["sh", "-c", script],
            log={"path": "x"},
        )
    finally:
        close_all(taken)
    assert spawned.status_fd is None
    out = spawned.streams["stdout"]
    os.set_blocking(out, True)
    assert os.read(out, 100) == b"%d\n" % soft
    os.kill(spawned.pid, signal.SIGKILL)
    assert os.read(out, 100) == b"", "we hold no end of its pipe"


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
