"""Output between marks, held against supervisord's own dispatcher for whatever a process may write."""

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from supervisor import events, loggers
from supervisor.dispatchers import POutputDispatcher

from orchestra_supervisor.listeners.capture import BEGIN, END, Capture, Part


def parts(capture: Capture, *data: bytes) -> list[Part]:
    return [part for one in data for part in capture.feed(one)]


def test_without_a_limit_everything_is_output_as_it_comes() -> None:
    assert parts(Capture(0), b"a", BEGIN, b"b" + END) == [
        Part(is_word=False, data=one) for one in (b"a", BEGIN, b"b" + END)
    ]


def test_what_stands_between_marks_is_told_once_it_is_whole() -> None:
    said = b"before and " + BEGIN + b"a word of some length" + END + b" after, as long as a mark at least"
    assert parts(Capture(100), said) == [
        Part(is_word=False, data=b"before and "),
        Part(is_word=False, data=b"a word of some length"),
        Part(is_word=True, data=b"a word of some length"),
        Part(is_word=False, data=b" after, as long as a mark at least"),
    ]


class Theirs:
    """supervisord's dispatcher, with as little around it as it takes."""

    def __init__(self, limit: int) -> None:
        logger = SimpleNamespace(debug=lambda *_, **__: None, log=lambda *_, **__: None)
        options = SimpleNamespace(
            logger=logger,
            loglevel=99,
            strip_ansi=False,
            readfd=lambda _: self.data,
            getLogger=loggers.getLogger,
        )
        config = SimpleNamespace(
            name="p",
            options=options,
            stdout_logfile=None,
            stdout_logfile_maxbytes=0,
            stdout_logfile_backups=0,
            stdout_syslog=False,
            stdout_capture_maxbytes=limit,
            stdout_events_enabled=True,
            stderr_events_enabled=False,
        )
        process = cast("Any", SimpleNamespace(config=config, pid=1, group=None))
        self.dispatcher = POutputDispatcher(process, events.ProcessCommunicationStdoutEvent, 0)
        self.data = b""

    def feed(self, data: bytes) -> None:
        self.data = data
        self.dispatcher.handle_read_event()


PIECES = st.one_of(
    st.sampled_from(
        [BEGIN, END, BEGIN[:7], BEGIN[7:], END[:3], END[3:], b"some more bytes than a mark has..."]
    ),
    st.binary(min_size=1, max_size=40),
)


@given(st.lists(PIECES, max_size=10), st.sampled_from([0, 1, 10, 1000]))
def test_whatever_is_written_is_understood_as_supervisord_does(written: list[bytes], limit: int) -> None:
    theirs, ours = Theirs(limit), Capture(limit)
    told: list[Part] = []

    def note(event: Any) -> None:
        is_word = isinstance(event, events.ProcessCommunicationEvent)
        told.append(Part(is_word=is_word, data=bytes(event.data)))

    events.clear()
    events.subscribe(events.Event, note)
    try:
        for data in written:
            theirs.feed(data)
            assert list(ours.feed(data)) == told, data
            told.clear()
    finally:
        events.clear()
