"""What outlives the process: the state, and who is in doubt."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestra_supervisor.listeners.capture import Capture
from orchestra_supervisor.listeners.catalog import tick
from orchestra_supervisor.listeners.directory import Entry, Output
from orchestra_supervisor.listeners.memory import Memory
from orchestra_supervisor.listeners.output import Place
from orchestra_supervisor.listeners.pools import Pools, PoolSpec
from orchestra_supervisor.listeners.scene import Scene, dump_scene, load_scene
from orchestra_supervisor.listeners.translation import Known


def remembered(path: Path) -> Memory:
    memory = Memory(str(path))
    memory.close()
    return memory


def test_a_state_is_that_of_one_fleet(tmp_path: Path) -> None:
    memory = Memory(str(tmp_path / "l"))
    assert memory.load(1.5) is None
    memory.keep(1.5, {"cursor": 3})
    memory.keep(1.5, {"cursor": 4})
    assert memory.load(1.5) == {"version": 1, "fleet": 1.5, "cursor": 4}
    assert memory.load(2.5) is None, "another fleet has another past"
    (tmp_path / "l" / "state.json").write_text("{", encoding="utf-8")
    assert memory.load(1.5) is None
    memory.close()


def test_who_is_being_spoken_with_is_in_doubt_until_the_state_is_kept(tmp_path: Path) -> None:
    def doubted() -> list[str]:
        other = Memory(str(tmp_path))
        try:
            return other.in_doubt()
        finally:
            other.close()

    memory = Memory(str(tmp_path))
    assert doubted() == []
    memory.doubt("web-1")
    memory.doubt("web-1")
    memory.doubt("db-1")
    assert doubted() == ["db-1", "web-1"]
    memory.keep(1.0, {}, still={"web-1"})
    assert doubted() == ["web-1"]
    memory.keep(1.0, {})
    assert doubted() == []
    (tmp_path / "doubt.json").write_text('["db-1"], "web-1"]', encoding="utf-8")
    assert doubted() == ["db-1"], "the rest of a longer list means nothing"
    (tmp_path / "doubt.json").write_text("}", encoding="utf-8")
    assert doubted() == []
    memory.close()


def scene() -> Scene:
    pools = Pools("here", lambda _: None)
    pools.configure(
        [
            PoolSpec("g", ("EVENT",), 3, (("a", "pa"), ("b", "pb"))),
            PoolSpec("h", ("TICK",), 10, (("c", "c"),)),
        ]
    )
    for name in "gh":
        pools.subscribe(name)
    pools.begin("a", "a-1")
    pools.heard("a", b"READY\n")
    for number in range(4):
        pools.accept(tick(5, number))
    pools.dispatch({"a": "RUNNING"}, lambda *_: True)
    pools.heard("a", b"RESULT 5\n\xff\x00")
    pools.begin("b", "b-1")
    pools.heard("b", b"REA")
    one = Scene(pools, cursor=12, mark=(3, 1.5), slices={5: 10, 60: 0})
    one.translator.processes["a"] = Known("g", "pa", "RUNNING", 12, "a-1", 2, "a-0")
    one.translator.groups = ["g", "h"]
    one.translator.is_stopping = True
    return one


def entry(log: Path) -> Entry:
    outputs = {"stdout": Output(is_told=True, limit=10), "stderr": Output()}
    return Entry("a", "g", "pa", False, "RUNNING", 12, "a-1", 0, outputs, False, str(log))


def test_a_scene_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    before = scene()
    before.sources.configure([entry(tmp_path / "a.log")], is_wanted=True)
    source = before.sources.by_service["a"]
    source.began("a-0000000000a1", 12)
    source.follower.place = Place(7, 9)
    source.captures[0xA1, "stdout"] = Capture(10, b"\xff<", True, b"wo\x80rd")
    held = json.loads(json.dumps(dump_scene(before)))
    after = load_scene(held, "here", lambda _: None)
    after.sources.configure([entry(tmp_path / "a.log")], is_wanted=True)
    after.restore_sources()
    assert dump_scene(after) == dump_scene(before)
    assert after.pools.pools == before.pools.pools
    assert after.pools.listeners == before.pools.listeners
    assert after.pools.events == before.pools.events
    assert after.translator.processes == before.translator.processes
    assert after.sources.by_service["a"].captures == source.captures
    assert after.sources.by_service["a"].pids == {0xA1: 12}


@pytest.mark.parametrize(
    "change", [{"pools": 3}, {"events": [{"x": 1}]}, {"cursor": "x"}, {"processes": {"a": {}}}]
)
def test_what_is_no_scene_is_said_to_be_none(change: dict[str, Any]) -> None:
    held = json.loads(json.dumps(dump_scene(scene()))) | change
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        load_scene(held, "here", lambda _: None)
