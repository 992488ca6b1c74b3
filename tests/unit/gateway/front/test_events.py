import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.front.events import EventId, EventLog, read_event_id

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def id_line(event: bytes) -> str:
    return event.decode().partition("\n")[0].removeprefix("id: ")


@pytest.mark.parametrize("request_id", [1, -5, "a", "", "with.dots\nand lines", "é€", None])
async def test_an_id_says_where_an_event_belongs(request_id: str | int | None) -> None:
    log = EventLog("stamp", "3", request_id)
    assert read_event_id(id_line(log.primer())) == EventId("stamp", "3", 0, request_id)
    log.add({"n": 1})
    assert read_event_id(id_line(log.add({"n": 2}))) == EventId("stamp", "3", 2, request_id)


@given(st.text())
def test_any_id_is_looked_at_without_a_fault(text: str) -> None:
    read_event_id(text)


async def test_what_is_kept_is_what_came_after() -> None:
    log = EventLog("stamp", "1", 7)
    events = [log.add({"n": number}) for number in range(3)]
    assert [event for _, event in log.after(1)] == events[1:]
    assert log.after(3) == []


async def test_a_long_stream_keeps_its_end() -> None:
    log = EventLog("stamp", "1", 7)
    for number in range(1_000):
        log.add({"n": number})
    assert [at for at, _ in log.after(0)] == list(range(745, 1001))
    log.add({"pad": "x" * 5_000_000}, last=True)
    assert ([at for at, _ in log.after(0)], log.done) == ([1001], True)


async def test_who_waits_is_woken_by_the_next_event_and_by_the_end() -> None:
    log = EventLog("stamp", "1", 7)
    woken: list[int] = []

    async def wait(number: int) -> None:
        await log.wait_after(number)
        woken.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 0)
            tasks.start_soon(wait, 1)
            await anyio.wait_all_tasks_blocked()
            log.add({})
            await anyio.wait_all_tasks_blocked()
            assert woken == [0]
            log.add({}, last=True)
        await log.wait_after(99)  # it is done: nothing will come
    assert woken == [0, 1]
