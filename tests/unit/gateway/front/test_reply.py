import json

import anyio
import pytest
from trio.testing import MockClock

from orchestra_supervisor.gateway.front.events import EventLog
from orchestra_supervisor.gateway.front.reply import KEEP_ALIVE_TIME, Pulse, Reply
from orchestra_supervisor.gateway.front.request import Connection, Request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Wire:
    """The server's side of one request: what was sent, and when."""

    def __init__(self) -> None:
        self.stuffed = False
        self.connection = Connection(lambda: self.stuffed, lambda: None)
        self.sent: list[tuple[float, object]] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "headers": [],
            "state": {"connection": self.connection},
        }
        self.request = Request(scope, self._receive, self._send)
        self._began = anyio.current_time()

    async def _receive(self) -> dict[str, object]:
        raise AssertionError("nothing is read")

    async def _send(self, message: dict[str, object]) -> None:
        said = message["status"] if "status" in message else message["body"]
        self.sent.append((round(anyio.current_time() - self._began, 3), said))


async def test_a_result_that_comes_first_is_json() -> None:
    wire = Wire()
    await Reply(wire.request).finish({"id": 1}, 404)
    assert wire.sent == [(0, 404), (0, b'{"id":1}')]


async def test_what_comes_before_the_result_makes_it_a_stream() -> None:
    wire = Wire()
    reply = Reply(wire.request)
    await reply.emit({"n": 1})
    await reply.finish({"id": 1}, 404)
    said = [b": \n\n", b'event: message\ndata: {"n":1}\n\n', b'event: message\ndata: {"id":1}\n\n']
    assert [part for _, part in wire.sent] == [200, *said]


async def test_a_silent_answer_is_kept_alive_and_a_stuffed_client_is_left_alone() -> None:
    wire = Wire()
    reply, pulse = Reply(wire.request), Pulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pulse.run)
        pulse.watch(reply)
        await anyio.sleep(3 * KEEP_ALIVE_TIME + 1)
        wire.stuffed = True
        await anyio.sleep(3 * KEEP_ALIVE_TIME)
        pulse.leave(reply)
        await reply.finish({"id": 1})
        tasks.cancel_scope.cancel()
    *alive, last = wire.sent
    assert alive == [(15, 200), (15, b": \n\n"), (30, b": \n\n"), (45, b": \n\n")]
    assert last == (91, b'event: message\ndata: {"id":1}\n\n')


async def test_a_client_that_is_let_go_finds_all_of_it_in_the_log() -> None:
    wire = Wire()
    log, kept = EventLog("stamp", "1", 7), list[EventLog]()
    reply = Reply(wire.request, log, kept.append)
    await reply.emit({"n": 1})
    await reply.release()
    await reply.emit({"n": 2})
    await reply.finish({"id": 7})
    assert kept == [log]
    assert [part for _, part in wire.sent][-1] == b""
    events = [event.decode().splitlines() for _, event in log.after(0)]
    assert [json.loads(lines[2].removeprefix("data: ")) for lines in events] == [
        {"n": 1},
        {"n": 2},
        {"id": 7},
    ]
    assert log.done


async def test_a_client_that_cannot_come_back_is_not_let_go() -> None:
    wire = Wire()
    reply = Reply(wire.request)
    await reply.release()
    await reply.finish({"id": 7})
    assert wire.sent == [(0, 200), (0, b'{"id":7}')]


async def test_nothing_is_sent_to_a_client_that_left() -> None:
    wire = Wire()
    reply = Reply(wire.request)
    await reply.emit({"n": 1})
    wire.connection.lose()
    await reply.emit({"n": 2})
    await reply.finish({"id": 7})
    assert len(wire.sent) == 3


async def test_an_answer_that_is_complete_by_now_is_not_kept_alive_any_more() -> None:
    slow, quick = Wire(), Wire()
    log, kept = EventLog("stamp", "1", 7), list[EventLog]()
    slow_reply, quick_reply, pulse = Reply(slow.request), Reply(quick.request, log, kept.append), Pulse()

    async def finish_quick(message: dict[str, object]) -> None:
        if not quick.sent:
            pulse.leave(quick_reply)
            await quick_reply.finish({"id": 1})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pulse.run)
        slow.request._send = finish_quick
        pulse.watch(slow_reply)
        pulse.watch(quick_reply)
        await anyio.sleep(2 * KEEP_ALIVE_TIME)
        tasks.cancel_scope.cancel()
    assert quick.sent == [(15, 200), (15, b'{"id":1}')]
    assert kept == [], "nobody comes back for it"
