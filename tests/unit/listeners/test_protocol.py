"""One listener's answers, held against supervisord's own dispatcher for whatever it may say."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import events
from supervisor.dispatchers import PEventListenerDispatcher, default_handler
from supervisor.states import EventListenerStates, getEventListenerStateDescription

from orchestra_supervisor.listeners.protocol import LONGEST, Fate, Listener, ListenerState, Verdict

UNKNOWN = (
    "p: has entered the UNKNOWN state and will no longer receive events, this usually indicates the process "
    "violated the eventlistener protocol"
)


def ready() -> Listener:
    return Listener("p", "run", ListenerState.READY)


def busy() -> Listener:
    one = ready()
    one.give()
    return one


@pytest.mark.parametrize(
    ("said", "state", "verdicts"),
    [
        (b"RESULT 2\nOK", "acknowledged", [Verdict(Fate.TAKEN)]),
        (b"RESULT 2\nOKREADY\n", "ready", [Verdict(Fate.TAKEN)]),
        (b"RESULT 4\nFAIL", "acknowledged", [Verdict(Fate.REJECTED, "p: event was rejected")]),
        (b"RESULT 3\nOK\n", "acknowledged", [Verdict(Fate.REJECTED, "p: event was rejected")]),
        (
            b"RESULT two\n",
            "unknown",
            [Verdict(Fate.REJECTED, "p: bad result line: 'RESULT two'"), Verdict(Fate.NONE, UNKNOWN)],
        ),
        (
            b"RESULT -1\n",
            "unknown",
            [Verdict(Fate.REJECTED, "p: bad result line: 'RESULT -1'"), Verdict(Fate.NONE, UNKNOWN)],
        ),
        (
            b"\xff\xfe so what\n",
            "unknown",
            [Verdict(Fate.REJECTED, "p: bad result line: '\\xff\\xfe so what'"), Verdict(Fate.NONE, UNKNOWN)],
        ),
        (b"RESULT 2\nO", "busy", []),
        (b"RESULT", "busy", []),
    ],
)
def test_an_answer_and_what_follows(said: bytes, state: str, verdicts: list[Verdict]) -> None:
    whole, piecemeal = busy(), busy()
    assert whole.feed(said) == verdicts
    assert [verdict for byte in said for verdict in piecemeal.feed(bytes([byte]))] == verdicts
    assert whole.state == piecemeal.state == state
    assert whole.buffer == piecemeal.buffer


@pytest.mark.parametrize("said", [b"x" * (LONGEST + 1), b"RESULT %d\n" % (LONGEST + 1)])
def test_an_answer_without_end_is_none(said: bytes) -> None:
    one = busy()
    assert [verdict.fate for verdict in one.feed(said)] == [Fate.REJECTED, Fate.NONE]
    assert (one.state, one.buffer) == (ListenerState.UNKNOWN, b"")
    assert one.feed(b"READY\n") == []
    assert (one.state, one.buffer) == (ListenerState.UNKNOWN, b"")


def test_who_is_ready_has_nothing_to_say() -> None:
    one = ready()
    assert one.feed(b"READY\n") == [Verdict(Fate.NONE, UNKNOWN)]
    assert one.state == "unknown"


class Theirs:
    """supervisord's dispatcher, with as little around it as it takes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rejected = 0
        logger = SimpleNamespace(warn=self.lines.append, debug=lambda *_: None)
        options = SimpleNamespace(logger=logger, readfd=lambda _: self.data, strip_ansi=False)
        config = SimpleNamespace(name="p", options=options, stdout_logfile=None)
        group = SimpleNamespace(config=SimpleNamespace(result_handler=default_handler))
        self.process = cast(
            "Any", SimpleNamespace(config=config, group=group, listener_state=None, event=None)
        )
        self.dispatcher = PEventListenerDispatcher(self.process, "stdout", 0)
        self.data = b""

    def feed(self, data: bytes) -> None:
        self.data = data
        self.dispatcher.handle_read_event()

    def give(self) -> None:
        self.process.listener_state = EventListenerStates.BUSY
        self.process.event = object()


WORDS = st.sampled_from(
    [
        b"READY\n",
        b"RESULT 2\nOK",
        b"RESULT 4\nFAIL",
        b"RESULT 0\n",
        b"RESULT ",
        b"2\nOK",
        b"x\n",
        b"READ",
        b"Y\n",
        b"OK",
    ]
)


@given(st.lists(st.one_of(WORDS, st.just(b"give")), max_size=12))
def test_whatever_is_said_is_taken_as_supervisord_takes_it(said: list[bytes]) -> None:
    theirs, ours, lines = Theirs(), Listener("p", "run"), list[str]()
    rejected: list[object] = []
    has_event = False
    events.clear()
    events.subscribe(events.EventRejectedEvent, rejected.append)
    back = 0
    try:
        for word in said:
            if word == b"give":
                if ours.state is ListenerState.READY:
                    ours.give()
                    theirs.give()
                    has_event = True
                continue
            theirs.feed(word)
            for verdict in ours.feed(word):
                lines += [verdict.text] if verdict.text else []
                back += verdict.fate is Fate.REJECTED
                has_event = has_event and verdict.fate is Fate.NONE
            assert ours.state.upper() == getEventListenerStateDescription(theirs.process.listener_state)
            assert ours.buffer == theirs.dispatcher.state_buffer
            assert has_event == (theirs.process.event is not None)
    finally:
        events.clear()
    assert lines == theirs.lines
    assert back == len(rejected)
