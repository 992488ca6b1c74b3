"""TICK, held against supervisord's own."""

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from supervisor import events
from supervisor.supervisord import Supervisor

from orchestra_supervisor.listeners.ticks import due_ticks, until_next


def test_a_slice_is_told_of_once_when_it_begins() -> None:
    slices: dict[int, int] = {}
    told = [
        [(one.name, one.payload) for one in due_ticks(slices, now)]
        for now in (3598.0, 3599.9, 3600.2, 3604.0)
    ]
    assert told == [
        [],
        [],
        [("TICK_5", "when:3600"), ("TICK_60", "when:3600"), ("TICK_3600", "when:3600")],
        [],
    ]
    assert until_next(3604.0) == 1.0


@given(st.lists(st.floats(0, 20_000), max_size=30))
def test_ticks_are_those_of_supervisord_whatever_the_clock_does(instants: list[float]) -> None:
    theirs: Any = Supervisor(cast("Any", SimpleNamespace()))
    slices: dict[int, int] = {}
    told: list[tuple[str, str]] = []
    events.clear()
    events.subscribe(events.TickEvent, lambda one: told.append((f"TICK_{one.period}", one.payload())))
    try:
        for now in instants:
            theirs.tick(now)
            assert [(one.name, one.payload) for one in due_ticks(slices, now)] == told
            told.clear()
    finally:
        events.clear()
