"""What the daemon tells of: the thread that follows it ends with who asked for it."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import cast

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from orchestra_supervisor.control_client import ControlClient, SseEvent
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.gateway.control.changes import Changes
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.endpoint import Caller, Change, ChangeKind

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


class Daemon:
    """A daemon's stream of events: what it tells to who has heard all up to a number."""

    def __init__(self, *events: SseEvent) -> None:
        self.events = events

    def stream(
        self, path: str, query: dict[str, object], *, idle: float, opened: Callable[[socket.socket], None]
    ) -> Generator[SseEvent]:
        after = int(str(query["after"] or 0))
        yield from (event for event in self.events if int(event.id) > after)


async def test_what_the_next_daemon_tells_under_numbers_that_were_told_before_is_heard(
    tmp_path: Path,
) -> None:
    killed = Daemon(SseEvent("12", "service.ready", {"service": "web"}))  # it did not come to keep this
    following = Daemon(SseEvent("12", "config.reloaded", {}))
    daemons = [killed, following]

    class Replaced(Desk):
        def client(self, caller: Caller | None = None, *, connect_wait: float = 0.0) -> ControlClient:
            return cast("ControlClient", daemons.pop(0) if len(daemons) > 1 else daemons[0])

    changes, told = Changes(Replaced(tmp_path)), list[Change]()
    changes.listen(told.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(changes.run)
        with anyio.fail_after(5):
            while Change(ChangeKind.RESOURCES) not in told:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert told[:2] == [Change(ChangeKind.RESOURCE, uri) for uri in ("fleet://status", "service://web")]
