"""Searching forwards finds what reading backwards finds, and shows the lines around it."""

import re
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.logfile import scan
from orchestra_supervisor.logfile.envelope import ENVELOPED, encode_envelope
from orchestra_supervisor.logfile.index import Record, encode_record
from orchestra_supervisor.logfile.reader import read_lines
from orchestra_supervisor.logfile.scan import Span, scan_lines
from orchestra_supervisor.logfile.search import Query, newest, search
from tests.unit.logfile.log_builder import LogBuilder
from tests.unit.logfile.test_reader import STEPS, play

PATTERNS = st.sampled_from([None, b"a", b"^a*$", b"\\Aa", b"(?<!a)a\x00", b"\xff$", b"a++\x00"])


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    pattern=PATTERNS,
    span=st.tuples(st.none() | st.integers(0, 30), st.none() | st.integers(0, 40)),
    block=st.integers(1, 9),
)
def test_what_is_found_equals_the_lines_read_backwards(
    steps: list[tuple[object, ...]],
    pattern: bytes | None,
    span: tuple[int | None, int | None],
    block: int,
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_BLOCK", block)
        builder = LogBuilder(Path(directory) / "web.log", records_always=True)
        play(builder, steps)
        since, until = span
        compiled = None if pattern is None else re.compile(pattern)
        wanted = [
            line
            for line in read_lines(str(builder.path), limit=None, pattern=compiled)
            if (since is None or line.at_wall >= since) and (until is None or line.at_wall < until)
        ]
        query = Query(Span.of(since, until), compiled)
        found = [hit.line for hit in search(str(builder.path), query)]
        assert [line for line in found if line.complete] == [line for line in wanted if line.complete]
        # Reading forwards, that a line has no end is only known at the end.
        assert Counter(found) == Counter(wanted)


def numbered(path: Path, count: int) -> LogBuilder:
    builder = LogBuilder(path, records_always=True)
    for number in range(count):
        builder.write("stdout", 1, b"line %d\n" % number)
    return builder


def shown(path: Path, query: Query, limit: int | None = None) -> list[str]:
    return [
        ("|" if hit.is_first else "")
        + hit.line.data.decode().removeprefix("line ")
        + ("*" if hit.is_match else "")
        for hit in newest(search(str(path), query), limit)
    ]


def test_lines_around_a_match_are_shown_once_and_groups_are_told_apart(tmp_path: Path) -> None:
    path = numbered(tmp_path / "web.log", 40).path
    query = Query(pattern=re.compile(rb"e (5|8|20)$"), before=2, after=1)
    assert shown(path, query) == ["|3", "4", "5*", "6", "7", "8*", "9", "|18", "19", "20*", "21"]
    assert shown(path, query, 2) == ["7", "8*", "9", "|18", "19", "20*", "21"]
    assert shown(path, query, 0) == []
    assert shown(path, Query(pattern=re.compile(rb"e 0$"), before=5)) == ["|0*"]


def test_a_rotation_between_a_match_and_its_lines_is_not_seen(tmp_path: Path) -> None:
    builder = numbered(tmp_path / "web.log", 3)
    builder.rotate(packed=True)
    builder.write("stdout", 1, b"line 3\n")
    assert shown(builder.path, Query(pattern=re.compile(b"2"), after=1)) == ["|2*", "3"]


def test_packed_segments_outside_the_span_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = LogBuilder(tmp_path / "web.log", records_always=True)
    opened: list[str] = []
    real = scan.gzip.open
    monkeypatch.setattr(scan.gzip, "open", lambda path: opened.append(str(path)) or real(path))
    paths: list[str] = []
    middle = 0.0
    for number in range(3):
        builder.write("stdout", 1, b"%d\n" % number)
        middle = builder.now if number == 1 else middle
        paths.append(builder.rotate(packed=True))
    # The stamps of the builder are of another time than its records: the index alone rules out here.
    found = list(scan_lines(str(builder.path), Span.of(None, middle + 0.5)))
    assert [line.data for line in found] == [b"0", b"1"]
    assert opened == [f"{path}.gz" for path in paths[:2]]
    opened.clear()
    assert list(scan_lines(str(builder.path), Span.of(4e9, None))) == []
    assert opened == [], "all were rotated before that"


def test_a_search_may_be_stopped(tmp_path: Path) -> None:
    path = numbered(tmp_path / "web.log", 5).path
    assert list(search(str(path), Query(), go_on=lambda: False)) == []


def test_a_pattern_is_searched_in_what_an_object_holds(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    builder = LogBuilder(path)
    wrapped = encode_envelope(
        service="web", run="w-1", stream="stdout", at_wall=1.0, data=b'say "hi"', complete=True
    )
    with Path(f"{path}.idx").open("ab") as index:
        index.write(encode_record(Record(10**9, 0, 1, 1 | ENVELOPED)))
    path.write_bytes(wrapped + wrapped)
    found = list(search(str(builder.path), Query(pattern=re.compile(rb'^say "hi"$'))))
    assert [(hit.line.stream, hit.line.data) for hit in found] == [("stdout", b'say "hi"')] * 2
