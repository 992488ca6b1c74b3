"""Our events in supervisord's words: a table of all that can happen, and what holds for any order of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.listeners import translation
from orchestra_supervisor.listeners.catalog import PARENTS
from orchestra_supervisor.listeners.translation import Known, Translator

Event = dict[str, Any]


def said(kind: str, run: str = "web-1", **data: Any) -> Event:
    return {"kind": kind, "service": "web", "run": run, "data": data}


def told(translator: Translator, *events: Event) -> list[str]:
    """Return type and payload of what follows on events."""
    found = [happening for event in events for happening in translator.take(event)]
    return [f"{one.name} {one.payload}".replace("processname:p groupname:g ", "") for one in found]


def at(state: str, **known: Any) -> Translator:
    translator = Translator()
    translator.learn("web", "g", "p")
    translator.groups = ["g"]
    row = {"run": "web-1", "pid": 12, **known}
    translator.processes["web"] = Known("g", "p", state, **row)
    return translator


@pytest.mark.parametrize(
    ("state", "event", "follows"),
    [
        (
            "STOPPED",
            said("service.starting", "web-2", tries=0),
            ["PROCESS_STATE_STARTING from_state:STOPPED tries:0"],
        ),
        (
            "EXITED",
            said("service.starting", "web-2", tries=0),
            ["PROCESS_STATE_STARTING from_state:EXITED tries:0"],
        ),
        (
            "BACKOFF",
            said("service.starting", "web-2", tries=2),
            ["PROCESS_STATE_STARTING from_state:BACKOFF tries:2"],
        ),
        (
            "FATAL",
            said("service.starting", "web-2", tries=0),
            ["PROCESS_STATE_STARTING from_state:FATAL tries:0"],
        ),
        (
            "STOPPED",
            said("service.waiting", "", tries=0),
            ["PROCESS_STATE_STARTING from_state:STOPPED tries:0"],
        ),
        ("STARTING", said("service.starting", "web-2", tries=0), []),
        ("STOPPED", said("service.waiting", "", idle=True), []),
        ("STARTING", said("service.spawned", pid=12), []),
        ("STARTING", said("service.ready", pid=12), ["PROCESS_STATE_RUNNING from_state:STARTING pid:12"]),
        ("STARTING", said("service.running", pid=12), ["PROCESS_STATE_RUNNING from_state:STARTING pid:12"]),
        ("RUNNING", said("service.ready", pid=12), []),
        ("RUNNING", said("service.unhealthy", pid=12), []),
        ("RUNNING", said("service.stopping", pid=12), ["PROCESS_STATE_STOPPING from_state:RUNNING pid:12"]),
        ("STARTING", said("service.stopping", pid=12), ["PROCESS_STATE_STOPPING from_state:STARTING pid:12"]),
        (
            "STOPPING",
            said("service.exited", state="stopping", pid=12),
            ["PROCESS_STATE_STOPPED from_state:STOPPING pid:12"],
        ),
        (
            "RUNNING",
            said("service.exited", state="ready", pid=12, success=False),
            ["PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:12"],
        ),
        (
            "RUNNING",
            said("service.exited", state="ready", pid=12, success=True),
            ["PROCESS_STATE_EXITED from_state:RUNNING expected:1 pid:12"],
        ),
        (
            "STARTING",
            said("service.exited", state="starting", pid=12),
            ["PROCESS_STATE_BACKOFF from_state:STARTING tries:1"],
        ),
        ("STARTING", said("service.spawn_failed"), ["PROCESS_STATE_BACKOFF from_state:STARTING tries:1"]),
        ("BACKOFF", said("service.backoff", "", tries=3), []),
        ("EXITED", said("service.backoff", "", tries=3), ["PROCESS_STATE_BACKOFF from_state:EXITED tries:3"]),
        ("BACKOFF", said("service.failed", "", given_up=True), ["PROCESS_STATE_FATAL from_state:BACKOFF"]),
        ("EXITED", said("service.failed", "", given_up=True), ["PROCESS_STATE_FATAL from_state:EXITED"]),
        ("EXITED", said("service.failed", "", given_up=False), []),
        ("EXITED", said("service.completed", ""), []),
        ("BACKOFF", said("service.stopped", ""), ["PROCESS_STATE_STOPPED from_state:BACKOFF pid:12"]),
        ("EXITED", said("service.stopped", ""), []),
        ("FATAL", said("service.stopped", ""), []),
        ("STOPPED", said("service.stopped", ""), []),
        ("RUNNING", said("service.probe_failed"), []),
        ("RUNNING", said("service.spawned", "web-1", pid=12), []),
    ],
)
def test_what_each_event_of_a_process_means(state: str, event: Event, follows: list[str]) -> None:
    assert told(at(state), event) == follows


def test_the_whole_of_a_fleet() -> None:
    translator = Translator()
    for service, group, process in (("a", "g", "a"), ("b", "g", "b"), ("c", "h", "c")):
        translator.learn(service, group, process)
    started: Event = {"kind": "daemon.started", "data": {"fresh": True}}
    taken_over: Event = {"kind": "daemon.started", "data": {"fresh": False}}
    assert told(translator, started) == [
        "PROCESS_GROUP_ADDED groupname:g\n",
        "PROCESS_GROUP_ADDED groupname:h\n",
        "SUPERVISOR_STATE_CHANGE_RUNNING ",
    ]
    assert told(translator, taken_over) == []
    translator.learn("d", "i", "d")
    changed: Event = {"kind": "fleet.changed", "data": {"added": ["d", "a", "nobody"], "removed": ["c"]}}
    assert told(translator, changed, changed) == ["PROCESS_GROUP_ADDED groupname:i\n"]
    gone: list[Event] = [
        {"kind": "service.removed", "service": name} for name in ("a", "c", "c", "b", "nobody")
    ]
    assert told(translator, *gone) == [
        "PROCESS_GROUP_REMOVED groupname:h\n",
        "PROCESS_GROUP_REMOVED groupname:g\n",
    ]
    word: Event = {"kind": "supervisor.remote_communication", "data": {"type": "t", "data": "d\ne"}}
    assert told(translator, word) == ["REMOTE_COMMUNICATION type:t\nd\ne"]
    stopping: Event = {"kind": "daemon.stopping", "data": {}}
    assert told(translator, stopping, stopping) == ["SUPERVISOR_STATE_CHANGE_STOPPING "]
    assert told(translator, {"kind": "fleet.ready"}, said("service.ready"), {}) == []


def test_what_a_leader_leaves_behind_is_no_concern() -> None:
    """Our state is stopping until it is gone; the process has ended."""
    assert told(
        at("RUNNING"),
        said("service.exited", state="ready", pid=12, remaining=2),
        said("service.stopping", pid=12),
        said("service.starting", "web-2", tries=0),
    ) == [
        "PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:12",
        "PROCESS_STATE_STARTING from_state:EXITED tries:0",
    ]


def test_what_a_killed_daemon_has_told_is_not_told_again() -> None:
    told_already = [
        said("service.exited", state="ready", pid=12),
        said("service.starting", "web-2", tries=0),
    ]
    again = [
        said("service.exited", state="ready", pid=12),
        said("service.starting", "web-3", tries=0),
        said("service.spawned", "web-3", pid=13),
        said("service.ready", "web-3", pid=13),
    ]
    translator = at("RUNNING")
    assert told(translator, *told_already) == [
        "PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:12",
        "PROCESS_STATE_STARTING from_state:EXITED tries:0",
    ]
    assert told(translator, *again) == ["PROCESS_STATE_RUNNING from_state:STARTING pid:13"]


@pytest.mark.parametrize(
    ("state", "event", "follows"),
    [
        # It had become ready, was being stopped, or was another run by then.
        (
            "STARTING",
            said("service.exited", state="ready", pid=12),
            [
                "PROCESS_STATE_RUNNING from_state:STARTING pid:12",
                "PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:12",
            ],
        ),
        (
            "RUNNING",
            said("service.exited", state="stopping", pid=12),
            [
                "PROCESS_STATE_STOPPING from_state:RUNNING pid:12",
                "PROCESS_STATE_STOPPED from_state:STOPPING pid:12",
            ],
        ),
        (
            "RUNNING",
            said("service.ready", "web-2", pid=13),
            [
                "PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:12",
                "PROCESS_STATE_STARTING from_state:EXITED tries:0",
                "PROCESS_STATE_RUNNING from_state:STARTING pid:13",
            ],
        ),
    ],
)
def test_what_a_killed_daemon_did_not_come_to_tell_is_made_up_for(
    state: str, event: Event, follows: list[str]
) -> None:
    assert told(at(state), event) == follows


@pytest.mark.parametrize(
    ("state", "now", "follows"),
    [
        ("RUNNING", ("RUNNING", "web-1", 12), []),
        ("STARTING", ("RUNNING", "web-1", 12), ["PROCESS_STATE_RUNNING from_state:STARTING pid:12"]),
        (
            "RUNNING",
            ("STOPPED", "", 0),
            [
                "PROCESS_STATE_STOPPING from_state:RUNNING pid:12",
                "PROCESS_STATE_STOPPED from_state:STOPPING pid:12",
            ],
        ),
        ("STOPPING", ("STOPPED", "", 0), ["PROCESS_STATE_STOPPED from_state:STOPPING pid:12"]),
        ("EXITED", ("STOPPED", "", 0), []),
        (
            "RUNNING",
            ("RUNNING", "web-2", 13),
            [
                "PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:12",
                "PROCESS_STATE_STARTING from_state:EXITED tries:0",
                "PROCESS_STATE_RUNNING from_state:STARTING pid:13",
            ],
        ),
    ],
)
def test_it_can_be_put_right_by_what_the_daemon_has(
    state: str, now: tuple[str, str, int], follows: list[str]
) -> None:
    translator = at(state)
    found = [f"{one.name} {one.payload}" for one in translator.correct("web", *now)]
    assert [one.replace("processname:p groupname:g ", "") for one in found] == follows
    assert translator.processes["web"].state == now[0]
    assert translator.correct("web", *now) == []
    assert translator.correct("nobody", *now) == []


WORDS = st.sampled_from([kind.removeprefix("service.") for kind in translation._WORDS])
RUNS = st.sampled_from(["web-1", "web-2", ""])
DATA = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["starting", "ready", "stopping"]),
        "pid": st.integers(1, 9),
        "tries": st.integers(0, 3),
        "success": st.booleans(),
        "idle": st.booleans(),
        "given_up": st.booleans(),
    },
)


@given(st.lists(st.tuples(WORDS, RUNS, DATA), max_size=20))
def test_states_follow_on_each_other_and_each_is_another(history: list[tuple[str, str, Event]]) -> None:
    """Whatever comes in whatever order: each event goes on from where the last one led to."""
    translator = at("STOPPED", run="")
    before = "STOPPED"
    for word, run, data in history:
        for happening in translator.take(said(f"service.{word}", run, **data)):
            assert happening.name in PARENTS
            fields = dict(field.split(":") for field in happening.payload.split())
            to = happening.name.removeprefix("PROCESS_STATE_")
            assert fields["from_state"] == before or (fields["from_state"], before) in {
                ("STOPPED", "EXITED"),
                ("STOPPED", "FATAL"),
            }
            assert to != fields["from_state"]
            before = to
    assert translator.states == {"web": translator.processes["web"].state}
