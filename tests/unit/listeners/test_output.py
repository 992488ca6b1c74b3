"""Output out of logs: whose each piece is, across rotation, and who goes on where another stopped."""

from pathlib import Path
from typing import Any

import pytest

from orchestra_supervisor.listeners.directory import Entry, Output
from orchestra_supervisor.listeners.output import Follower, Piece, Place
from orchestra_supervisor.listeners.sources import Source, Sources
from orchestra_supervisor.logfile.envelope import ENVELOPED, encode_envelope
from orchestra_supervisor.logfile.index import Record, encode_record
from tests.unit.logfile.log_builder import LogBuilder

ONE, TWO = 0xA1, 0xB2
RUN = "web-0000000000a1"


def pieces(follower: Follower, *known: int) -> list[tuple[int, str, bytes]]:
    return [(one.run, one.stream, one.data) for one in follower.read(known or (ONE, TWO)) if not one.is_end]


def ends(follower: Follower) -> list[tuple[int, str]]:
    return [(one.run, one.stream) for one in follower.read((ONE, TWO)) if one.is_end]


def test_it_begins_with_a_run_and_hands_out_what_is_new(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    follower = Follower(str(log.path))
    log.write("stdout", TWO, b"of another run")
    assert pieces(follower) == [], "nobody said where to begin"
    follower.begin(ONE)
    assert pieces(follower) == []
    log.write("stdout", ONE, b"a\nb")
    log.write("stderr", ONE, b"c\n")
    assert pieces(follower) == [(ONE, "stdout", b"a\nb"), (ONE, "stderr", b"c\n")]
    assert pieces(follower) == []
    log.write("stderr", ONE, b"d")
    log.end("stderr", ONE)
    assert follower.read((ONE,)) == [Piece(ONE, "stderr", b"d"), Piece(ONE, "stderr", is_end=True)]
    assert Follower(str(tmp_path / "nothing.log")).read((ONE,)) == []


@pytest.mark.parametrize("packed", [False, True])
def test_nothing_is_missed_where_segments_are_rotated(tmp_path: Path, packed: bool) -> None:
    log = LogBuilder(tmp_path / "web.log")
    follower = Follower(str(log.path))
    follower.begin(ONE)
    log.write("stdout", ONE, b"1")
    assert pieces(follower) == [(ONE, "stdout", b"1")]
    for number in b"234":
        log.write("stdout", ONE, bytes([number]))
        log.rotate(packed=packed)
    log.write("stderr", ONE, b"5")
    found: list[tuple[int, str, bytes]] = []
    for _ in range(6):
        found += pieces(follower)
    assert found == [
        (ONE, "stdout", b"2"),
        (ONE, "stdout", b"3"),
        (ONE, "stdout", b"4"),
        (ONE, "stderr", b"5"),
    ]


def test_another_goes_on_where_one_stopped(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    first = Follower(str(log.path))
    first.begin(ONE)
    log.write("stdout", ONE, b"before")
    assert pieces(first)
    log.write("stdout", ONE, b", after")
    assert pieces(Follower(str(log.path), first.place)) == [(ONE, "stdout", b", after")]
    at_end = Follower(str(log.path))
    at_end.begin_at_end()
    log.write("stderr", ONE, b"new")
    assert pieces(at_end) == [(ONE, "stderr", b"new")]
    gone = Follower(str(log.path), Place(1, 5))
    assert pieces(gone) == [(ONE, "stdout", b"before, after"), (ONE, "stderr", b"new")]


def test_it_stops_at_a_run_that_nobody_has_told_of(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    follower = Follower(str(log.path))
    follower.begin(ONE)
    log.write("stdout", ONE, b"a")
    log.write("stdout", TWO, b"b")
    assert pieces(follower, ONE) == [(ONE, "stdout", b"a")]
    assert follower.waits_for == TWO
    assert pieces(follower, ONE) == []
    assert pieces(follower, ONE, TWO) == [(TWO, "stdout", b"b")]
    assert follower.waits_for is None


def test_a_log_that_was_cut_short_is_read_anew(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    follower = Follower(str(log.path))
    follower.begin(ONE)
    log.write("stdout", ONE, b"long before")
    assert pieces(follower)
    log.path.write_bytes(b"x")
    assert pieces(follower) == [(ONE, "stdout", b"x")]


def test_objects_are_opened(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    follower = Follower(str(log.path))
    follower.begin(ONE)

    def line(data: bytes, *, complete: bool = True) -> bytes:
        return encode_envelope(
            service="web", run=RUN, stream="stdout", at_wall=1.0, data=data, complete=complete
        )

    log._append(Path(f"{log.path}.idx"), encode_record(Record(1, 0, ONE, 1 | ENVELOPED)))
    half = line(b"last")
    log._append(log.path, line(b"first") + line(b"part", complete=False) + half[:10])
    assert pieces(follower) == [(ONE, "stdout", b"first\npart")]
    assert pieces(follower) == []
    log._append(log.path, half[10:])
    assert pieces(follower) == [(ONE, "stdout", b"last\n")]


def entry(log: LogBuilder, **fields: Any) -> Entry:
    told: dict[str, Any] = {
        "service": "web",
        "group": "g",
        "process": "p",
        "is_listener": False,
        "state": "RUNNING",
        "pid": 12,
        "run": RUN,
        "tries": 0,
        "outputs": {"stdout": Output(is_told=True), "stderr": Output()},
        "is_merged": False,
        "log": str(log.path),
    }
    return Entry(**(told | fields))


def happened(source: Source) -> list[str]:
    return [f"{one.name} {one.payload}" for one in source.read()]


HEAD = "processname:p groupname:g pid:12"


def test_output_happens_as_far_as_it_is_to_be_told(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    source = Source(entry(log))
    source.began(RUN, 12)
    log.write("stdout", ONE, b"out\n")
    log.write("stderr", ONE, b"err\n")
    assert happened(source) == [f"PROCESS_LOG_STDOUT {HEAD} channel:stdout\nout\n"]
    source.entry = entry(log, is_merged=True)
    log.write("stderr", ONE, b"merged\n")
    assert happened(source) == [f"PROCESS_LOG_STDOUT {HEAD} channel:stdout\nmerged\n"]
    source.entry = entry(log, outputs={"stdout": Output(), "stderr": Output(limit=100)})
    log.write("stderr", ONE, b"<!--XSUPERVISOR:BEGIN-->word<!--XSUPERVISOR:END-->, and some more behind it")
    assert happened(source) == [f"PROCESS_COMMUNICATION_STDERR {HEAD}\nword"]


def test_it_is_known_when_a_run_has_said_its_last(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    source = Source(entry(log))
    source.began(RUN, 12)
    log.write("stdout", ONE, b"last words")
    log.end("stdout", ONE)
    assert happened(source)
    assert not source.is_through(RUN)
    log.end("stderr", ONE)
    assert happened(source) == []
    assert source.is_through(RUN)
    assert Source(entry(log, is_listener=True)).is_through(RUN) is False


def test_a_run_that_nobody_ever_tells_of_is_told_without_its_pid(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    source = Source(entry(log))
    source.began(RUN, 12)
    log.write("stdout", ONE, b"a")
    log.write("stdout", TWO, b"b")
    assert happened(source) == [f"PROCESS_LOG_STDOUT {HEAD} channel:stdout\na"]
    looks = [happened(source) for _ in range(60)]
    assert [one for one in looks if one] == [
        ["PROCESS_LOG_STDOUT processname:p groupname:g pid:0 channel:stdout\nb"]
    ]


def test_only_those_are_followed_of_whom_something_is_wanted(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "web.log")
    quiet = entry(log, service="quiet", outputs={"stdout": Output(), "stderr": Output()})
    sources = Sources()
    sources.configure([entry(log), quiet], is_wanted=True)
    assert list(sources.by_service) == ["web"]
    log.write("stdout", ONE, b"before")
    sources.join({"web": (RUN, 12)})
    log.write("stdout", ONE, b"after")
    kept = sources.by_service["web"]
    sources.configure([entry(log), quiet], is_wanted=True)
    assert sources.by_service["web"] is kept
    assert [one.payload for one in sources.read()] == [f"{HEAD} channel:stdout\nafter"]
    sources.configure([entry(log), quiet], is_wanted=False)
    assert sources.by_service == {}
    assert ends(kept.follower) == []
