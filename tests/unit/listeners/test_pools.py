"""Pools, held against supervisord's own for whatever happens and whatever their listeners answer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import events
from supervisor import process as theirs
from supervisor.process import EventListenerPool
from supervisor.states import EventListenerStates, ProcessStates

from orchestra_supervisor.listeners.catalog import Happening, group_event, tick
from orchestra_supervisor.listeners.pools import Pools, PoolSpec

ALL = {"a": "RUNNING", "b": "RUNNING"}


def pools_of(*specs: PoolSpec) -> tuple[Pools, list[str]]:
    lines: list[str] = []
    pools = Pools("here", lines.append)
    pools.configure(specs)
    for spec in specs:
        pools.subscribe(spec.name)
    return pools, lines


def pool(name: str = "g", *members: str, events: tuple[str, ...] = ("EVENT",), size: int = 10) -> PoolSpec:
    return PoolSpec(name, events, size, tuple((one, one) for one in members or ("a",)))


class Wire:
    """Where events are written to."""

    def __init__(self, pools: Pools) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.broken: set[str] = set()
        self.pools = pools

    def write(self, service: str, data: bytes) -> bool:
        if service in self.broken:
            return False
        self.sent.append((service, data))
        return True

    def dispatch(self, states: dict[str, str] = ALL) -> list[tuple[str, bytes]]:
        self.sent = []
        self.pools.dispatch(states, self.write)
        return self.sent


def test_an_event_is_told_by_its_header_and_its_payload() -> None:
    pools, _ = pools_of(pool())
    wire = Wire(pools)
    pools.begin("a", "a-1")
    pools.accept(tick(5, 10))
    pools.accept(Happening("REMOTE_COMMUNICATION", "type:t\nd\u00e5ta"))
    assert wire.dispatch() == [], "it has not said that it is ready"
    pools.heard("a", b"READY\n")
    assert wire.dispatch({"a": "STARTING"}) == [], "it has not been up for long enough"
    assert wire.dispatch() == [
        ("a", b"ver:3.0 server:here serial:0 pool:g poolserial:0 eventname:TICK_5 len:7\nwhen:10")
    ]
    assert wire.dispatch() == []
    pools.heard("a", b"RESULT 2\nOKREADY\n")
    head = b"ver:3.0 server:here serial:1 pool:g poolserial:1 eventname:REMOTE_COMMUNICATION len:11\n"
    assert wire.dispatch() == [("a", head + "type:t\nd\u00e5ta".encode())]


def test_events_are_numbered_where_somebody_wants_them() -> None:
    ticks, groups = (
        pool("t", "a", events=("TICK",)),
        pool("p", "b", events=("PROCESS_GROUP", "PROCESS_GROUP_ADDED")),
    )
    pools, _ = pools_of(ticks, groups)
    pools.accept(Happening("SUPERVISOR_STATE_CHANGE_RUNNING", ""))
    pools.accept(tick(5, 10))
    pools.accept(group_event("ADDED", "x"))
    pools.accept(tick(60, 60))
    numbers = {
        name: [(one.serial, one.pool_serials[name]) for one in each.buffer]
        for name, each in pools.pools.items()
    }
    assert numbers == {"t": [(0, 0), (2, 1)], "p": [(1, 0), (1, 0)]}, "who asks for it twice gets it twice"


def test_a_pool_is_told_of_its_own_group_and_of_nothing_before() -> None:
    pools = Pools("here", lambda _: None)
    pools.configure([pool("g")])
    pools.accept(group_event("ADDED", "before"))
    pools.accept(group_event("ADDED", "g"))
    pools.accept(group_event("REMOVED", "g"))
    pools.accept(group_event("ADDED", "after"))
    assert [one.payload for one in pools.pools["g"].buffer] == ["groupname:g\n"] * 2


def test_what_a_dead_or_broken_listener_had_goes_to_the_other() -> None:
    pools, _ = pools_of(pool("g", "a", "b"))
    wire = Wire(pools)
    for name in "ab":
        pools.begin(name, f"{name}-1")
        pools.heard(name, b"READY\n")
    pools.accept(tick(5, 10))
    assert [service for service, _ in wire.dispatch()] == ["a"]
    pools.end("a")
    assert [service for service, _ in wire.dispatch()] == ["b"]
    pools.begin("a", "a-2")
    pools.heard("a", b"READY\n")
    pools.distrust("b")
    wire.broken = {"a"}
    assert wire.dispatch() == [], "nobody reads there"
    wire.broken = set()
    assert [service for service, _ in wire.dispatch()] == ["a"]
    pools.heard("b", b"RESULT 2\nOK")
    assert set(pools.events) == {"a"}, "who is not trusted answers for nothing"


def test_it_is_known_whether_all_was_told_and_answered_for() -> None:
    pools, _ = pools_of(pool("g", "a", "b"))
    wire = Wire(pools)
    pools.accept(tick(5, 10))
    assert pools.is_settled(ALL), "nobody is there"
    pools.begin("a", "a-1")
    assert not pools.is_settled(ALL), "it has yet to say that it is ready"
    assert pools.is_settled({"a": "STARTING"}), "it may be told nothing"
    pools.heard("a", b"READY\n")
    assert not pools.is_settled(ALL)
    assert len(wire.dispatch()) == 1
    assert not pools.is_settled(ALL), "it has yet to answer"
    pools.heard("a", b"RESULT 2\nOK")
    assert pools.is_settled(ALL)
    pools.accept(tick(5, 15))
    pools.distrust("a")
    assert pools.is_settled(ALL), "it is told nothing more"


def test_a_run_that_is_known_is_not_begun_again() -> None:
    pools, _ = pools_of(pool())
    pools.begin("a", "a-1")
    pools.heard("a", b"READY\n")
    pools.begin("a", "a-1")
    assert pools.listeners["a"].state == "ready"
    pools.begin("a", "a-2")
    assert pools.listeners["a"].state == "acknowledged"
    pools.heard("nobody", b"READY\n")
    pools.end("nobody")


@pytest.mark.parametrize("name", ["TICK_5", "PROCESS_LOG_STDOUT"])
def test_it_is_known_what_is_wanted(name: str) -> None:
    assert pools_of(pool(events=(name,)))[0].is_wanted("TICK_5", "PROCESS_LOG_STDERR") == (name == "TICK_5")
    assert pools_of(pool(events=("EVENT",)))[0].is_wanted(name)


class Theirs:
    """A pool of supervisord's with two listeners, and as little around it as it takes."""

    def __init__(self, size: int) -> None:
        events.clear()
        cast("Any", theirs.GlobalSerial).serial = -1
        self.lines: list[str] = []
        self.sent: list[tuple[str, bytes]] = []
        logger = SimpleNamespace(error=self.lines.append, debug=lambda *_: None)
        options = SimpleNamespace(logger=logger, identifier="here")
        makers = [SimpleNamespace(name=name, make_process=self.process) for name in "ab"]
        for maker in makers:
            maker.make_process = lambda _, name=maker.name: self.process(name)
        config = SimpleNamespace(
            name="g",
            options=options,
            process_configs=makers,
            buffer_size=size,
            pool_events=[events.TickEvent],
        )
        self.pool = EventListenerPool(cast("Any", config))

    def process(self, name: str) -> Any:
        one = SimpleNamespace(
            config=SimpleNamespace(name=name),
            state=ProcessStates.RUNNING,
            listener_state=EventListenerStates.READY,
            event=None,
        )
        one.write = lambda data: self.sent.append((name, data))
        return one


STEPS = st.sampled_from(
    ["tick", "tick", "tick", "dispatch", "ok a", "ok b", "fail a", "fail b", "die a", "die b"]
)


@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
def test_whatever_happens_it_is_as_with_supervisord(steps: list[str], size: int) -> None:
    other = Theirs(size)
    pools, lines = pools_of(pool("g", "a", "b", events=("TICK",), size=size))
    wire = Wire(pools)
    for name in "ab":
        pools.begin(name, f"{name}-0")
        pools.heard(name, b"READY\n")
    try:
        for number, step in enumerate(steps):
            what, _, name = step.partition(" ")
            if what == "tick":
                events.notify(events.Tick5Event(number, None))
                pools.accept(tick(5, number))
            elif what == "dispatch":
                other.sent.clear()
                other.pool.dispatch()
                assert wire.dispatch() == other.sent
            elif name in pools.events:
                process = other.pool.processes[name]
                if what != "ok":
                    events.notify(events.EventRejectedEvent(process, process.event))
                process.event, process.listener_state = None, EventListenerStates.READY
                if what == "die":
                    pools.begin(name, f"{name}-{number}")
                    pools.heard(name, b"READY\n")
                else:
                    pools.heard(name, b"RESULT 2\nOKREADY\n" if what == "ok" else b"RESULT 4\nFAILREADY\n")
            assert [one.serial for one in pools.pools["g"].buffer] == [
                one.serial for one in other.pool.event_buffer
            ]
    finally:
        events.clear()
    assert [line for line in lines if "rejected" not in line] == other.lines
