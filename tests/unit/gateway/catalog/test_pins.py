"""Tools are pinned when they are first seen, and a change is seen until it is accepted."""

import json
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from orchestra_supervisor.gateway.catalog.pins import PinBook, tool_fingerprint
from orchestra_supervisor.gateway.messages import Json

pytestmark = pytest.mark.anyio

GOOD: Json = {"name": "t", "description": "Good.", "inputSchema": {"type": "object"}}
EVIL: Json = {**GOOD, "description": "Evil."}


async def test_a_change_is_seen_in_every_later_life_until_it_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "pins.json"

    async def live(tool: Json) -> frozenset[str]:
        book = PinBook(path)
        changed = book.check("s", [tool])
        async with anyio.create_task_group() as group:
            group.start_soon(book.notebook.run)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        return changed

    assert await live(GOOD) == frozenset()
    assert await live(EVIL) == frozenset({"t"})
    assert await live(EVIL) == frozenset({"t"})
    assert await live(GOOD) == frozenset()
    assert await live(EVIL) == frozenset({"t"})
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved == {
        "servers": {"s": {"t": {"sha256": tool_fingerprint(GOOD), "seen": tool_fingerprint(EVIL)}}}
    }
    assert path.stat().st_mode & 0o777 == 0o600
    book = PinBook(path)
    assert book.accept("s", ["other"]) == []
    assert book.accept("s") == ["t"]
    assert book.check("s", [EVIL]) == frozenset()
    assert book.check("s", [GOOD]) == frozenset({"t"})


async def test_what_another_process_accepts_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    book = PinBook(path)
    async with anyio.create_task_group() as group:
        group.start_soon(book.notebook.run)
        book.check("s", [GOOD])
        with anyio.fail_after(5):
            while not path.exists() or not book.notebook.is_settled:
                await anyio.sleep(0.01)
        assert not book.was_edited()  # it was ourselves
        pin = {"sha256": tool_fingerprint(EVIL)}
        path.write_text(json.dumps({"servers": {"s": {"t": pin}}}), encoding="utf-8")
        assert book.was_edited()
        assert not book.was_edited()
        assert book.check("s", [EVIL]) == frozenset()
        group.cancel_scope.cancel()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"servers": 7}', '{"servers": {"s": {"t": 1}}}'])
async def test_a_damaged_file_counts_as_empty(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pins.json"
    path.write_text(content, encoding="utf-8")
    assert PinBook(path).check("s", [GOOD]) == frozenset()


def test_what_a_model_does_not_see_makes_no_other_fingerprint() -> None:
    assert tool_fingerprint({**GOOD, "icons": [1]}) == tool_fingerprint(GOOD)
    assert tool_fingerprint({**GOOD, "annotations": {"readOnlyHint": True}}) != tool_fingerprint(GOOD)
