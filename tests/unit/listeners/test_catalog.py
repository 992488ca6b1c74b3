"""The 27 event types, held against supervisord's own classes."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from supervisor import events as theirs

from orchestra_supervisor.listeners.catalog import (
    PARENTS,
    Happening,
    communication,
    group_event,
    is_a,
    log_event,
    remote,
    state_event,
    supervisor_event,
    tick,
)

TYPES: dict[str, type] = {
    name: one
    for name, one in vars(theirs.EventTypes).items()
    if not name.startswith("_") and isinstance(one, type)
}
PROCESS = cast(
    "Any",
    SimpleNamespace(
        config=SimpleNamespace(name="p"),
        group=SimpleNamespace(config=SimpleNamespace(name="g")),
        pid=12,
        backoff=3,
    ),
)
OURS: dict[str, tuple[Happening, Any]] = {
    **{
        f"PROCESS_STATE_{to}": (
            state_event(to, process="p", group="g", before="RUNNING", more=more),
            lambda kind: kind(PROCESS, 20, True),
        )
        for to, more in {
            "STOPPED": [("pid", 12)],
            "EXITED": [("expected", 1), ("pid", 12)],
            "STARTING": [("tries", 3)],
            "STOPPING": [("pid", 12)],
            "BACKOFF": [("tries", 3)],
            "FATAL": [],
            "RUNNING": [("pid", 12)],
            "UNKNOWN": [],
        }.items()
    },
    **{
        f"PROCESS_COMMUNICATION_{one.upper()}": (
            communication(one, process="p", group="g", pid=12, data="d\u00e5ta\n".encode()),
            lambda kind: kind(PROCESS, 12, "d\u00e5ta\n".encode()),
        )
        for one in ("stdout", "stderr")
    },
    **{
        f"PROCESS_LOG_{one.upper()}": (
            log_event(one, process="p", group="g", pid=12, data=b"\xff\x00 raw"),
            lambda kind: kind(PROCESS, 12, b"\xff\x00 raw"),
        )
        for one in ("stdout", "stderr")
    },
    "REMOTE_COMMUNICATION": (
        remote("a kind", "data\nand more"),
        lambda kind: kind("a kind", "data\nand more"),
    ),
    "SUPERVISOR_STATE_CHANGE_RUNNING": (supervisor_event("RUNNING"), lambda kind: kind()),
    "SUPERVISOR_STATE_CHANGE_STOPPING": (supervisor_event("STOPPING"), lambda kind: kind()),
    **{f"TICK_{period}": (tick(period, 3600), lambda kind: kind(3600, None)) for period in (5, 60, 3600)},
    "PROCESS_GROUP_ADDED": (group_event("ADDED", "g"), lambda kind: kind("g")),
    "PROCESS_GROUP_REMOVED": (group_event("REMOVED", "g"), lambda kind: kind("g")),
}


def test_there_are_27_and_they_are_called_as_theirs() -> None:
    assert list(PARENTS) == list(TYPES)
    assert len(PARENTS) == 27


@pytest.mark.parametrize("name", TYPES)
def test_each_is_a_kind_of_the_same(name: str) -> None:
    assert {other for other in PARENTS if is_a(name, other)} == {
        other for other, one in TYPES.items() if issubclass(TYPES[name], one)
    }


def test_what_happens_is_all_that_is_no_mere_kind() -> None:
    assert set(OURS) == set(PARENTS) - {one for one in PARENTS.values() if one is not None}


@pytest.mark.parametrize("name", OURS)
def test_payloads_are_to_the_letter(name: str) -> None:
    happening, make = OURS[name]
    assert happening.name == name
    assert happening.payload == make(TYPES[name]).payload()
