"""What the daemon tells of: the thread that follows it ends with who asked for it."""

import socket
import threading
import time
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from orchestra_supervisor.control_client import ControlClient
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.gateway.control.changes import Changes
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.endpoint import Caller

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def silent_daemon(tmp_path: Path) -> Generator[Path]:
    """A home whose control socket takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path(tmp_path))
        listener.listen()
        yield tmp_path


class SlowDesk(Desk):
    """Connects when it is let."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.about_to = threading.Event()
        self.may = threading.Event()

    def client(self, caller: Caller | None = None, *, connect_wait: float = 0.0) -> ControlClient:
        self.about_to.set()
        assert self.may.wait(10.0)
        return super().client(caller, connect_wait=connect_wait)


async def test_who_is_cancelled_before_the_connection_is_there_does_not_wait_for_the_daemon(
    silent_daemon: Path,
) -> None:
    desk = SlowDesk(silent_daemon)
    changes = Changes(desk)
    ended = anyio.Event()
    scope = anyio.CancelScope()

    async def follow() -> None:
        with scope:
            await changes.run()
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await to_thread.run_sync(desk.about_to.wait, 10.0)
        scope.cancel()
        for _ in range(10):  # all that is cancelled has run now
            await checkpoint()
        began = time.monotonic()
        desk.may.set()
        await ended.wait()
    # A client that asks and gets no answer waits for 20 seconds.
    assert time.monotonic() - began < 10.0
