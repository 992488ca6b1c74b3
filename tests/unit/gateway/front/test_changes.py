import anyio
import pytest
from trio.testing import MockClock

from orchestra_supervisor.gateway.endpoint import Change, ChangeKind
from orchestra_supervisor.gateway.front.changes import GATHER_TIME, Changes, declared_kinds, notification_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


TOOLS = Change(ChangeKind.TOOLS)
A, B = Change(ChangeKind.RESOURCE, "test://a"), Change(ChangeKind.RESOURCE, "test://b")


async def test_a_burst_is_told_once_and_in_order() -> None:
    changes = Changes(lambda change: change != B)
    for change in (A, TOOLS, A, B, TOOLS):
        changes.tell(change)
    began = anyio.current_time()
    assert await changes.gather() == [A, TOOLS]
    assert anyio.current_time() - began == pytest.approx(GATHER_TIME)


async def test_what_comes_while_it_gathers_comes_along_and_what_comes_later_comes_next() -> None:
    changes = Changes(lambda _: True)

    async def tell() -> None:
        changes.tell(A)
        await anyio.sleep(GATHER_TIME - 0.01)
        changes.tell(B)
        await anyio.sleep(0.02)
        changes.tell(TOOLS)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell)
        assert await changes.gather() == [A, B]
        assert await changes.gather() == [TOOLS]


async def test_what_is_gathered_when_the_listener_leaves_waits_for_the_next_one() -> None:
    changes = Changes(lambda _: True)
    changes.tell(A)
    with anyio.move_on_after(GATHER_TIME / 2):
        await changes.gather()
    assert await changes.gather() == [A]


async def test_a_change_that_nobody_wants_any_more_is_not_told() -> None:
    wanted = {"test://a", "test://b"}
    changes = Changes(lambda change: change.uri in wanted)
    changes.tell(A)
    changes.tell(B)
    wanted.remove("test://a")
    assert await changes.gather() == [B]


def test_the_kinds_that_an_endpoint_declares() -> None:
    declared = declared_kinds(
        {"tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": False}, "prompts": 5}
    )
    assert declared == {ChangeKind.TOOLS, ChangeKind.RESOURCE}


def test_a_change_as_a_notification() -> None:
    assert notification_of(TOOLS) == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    assert notification_of(A, {"m": 1}) == {
        "jsonrpc": "2.0",
        "method": "notifications/resources/updated",
        "params": {"uri": "test://a", "_meta": {"m": 1}},
    }
