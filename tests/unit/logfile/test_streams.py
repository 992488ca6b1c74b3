from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.logfile.streams import TRUNCATED, StreamFollower, StreamView
from tests.unit.logfile.log_builder import LogBuilder

CHUNKS = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.integers(1, 2), st.binary(min_size=1, max_size=9)),
    max_size=12,
)


@given(chunks=CHUNKS, part=st.integers(1, 7), looks=st.sets(st.integers(0, 12)))
@settings(max_examples=30)
def test_a_view_has_the_bytes_of_its_stream_in_their_order(
    tmp_path_factory: pytest.TempPathFactory,
    chunks: list[tuple[str, int, bytes]],
    part: int,
    looks: set[int],
) -> None:
    path = tmp_path_factory.mktemp("log") / "web.log"
    log = LogBuilder(path)
    views = {stream: StreamView(str(path), stream) for stream in ("stdout", "stderr", "both")}
    wanted = dict.fromkeys(views, b"")
    for number, (stream, run, data) in enumerate(chunks):
        log.write(stream, run, data)
        for one in (stream, "both"):
            wanted[one] += data
        if number in looks:
            for view in views.values():
                view.refresh()
    for stream, view in views.items():
        view.refresh()
        assert view.size == len(wanted[stream])
        assert view.read(0, view.size) == wanted[stream]
        pieces = [view.read(at, part) for at in range(0, view.size, part)]
        assert b"".join(pieces) == wanted[stream]
        assert view.read(view.size, 5) == b""
        view.close()


def test_there_is_no_log_before_there_is_one(tmp_path: Path) -> None:
    view = StreamView(str(tmp_path / "web.log"), "stdout")
    assert (view.exists, view.size, view.read(0, 9)) == (False, 0, b"")
    LogBuilder(tmp_path / "web.log").write("stdout", 1, b"one\n")
    view.refresh()
    assert (view.exists, view.read(0, 9)) == (True, b"one\n")
    view.close()
    view.close()


def test_bytes_of_an_unknown_stream_count_as_stdout(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_bytes(b"old\n")
    for stream, wanted in (("stdout", b"old\n"), ("stderr", b"")):
        view = StreamView(str(tmp_path / "web.log"), stream)
        assert view.read(0, 9) == wanted
        view.close()


@pytest.mark.parametrize("packed", [False, True])
def test_a_follower_goes_on_in_the_next_segment_and_loses_nothing(tmp_path: Path, *, packed: bool) -> None:
    log = LogBuilder(tmp_path / "web.log")
    log.write("stdout", 1, b"0123456789")
    log.write("stderr", 1, b"wrong")
    follower = StreamFollower(str(tmp_path / "web.log"), "stdout", head=4)
    assert follower.poll() == b"6789"
    assert follower.poll() == b""
    log.write("stdout", 1, b"before")
    log.rotate(packed=packed)
    log.write("stdout", 1, b"after")
    assert follower.poll() == b"before"
    assert follower.poll() == b"after"
    assert follower.poll() == b""
    follower.close()


def test_a_follower_says_that_a_log_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    log = LogBuilder(path)
    log.write("stdout", 1, b"0123456789")
    follower = StreamFollower(str(path), "both", head=100)
    assert follower.poll() == b"0123456789"
    with path.open("r+b") as file:
        file.truncate(3)
    assert follower.poll() == TRUNCATED
    assert follower.poll() == b"012"
    follower.close()


def test_a_follower_waits_for_a_log_that_was_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    LogBuilder(path).write("stdout", 1, b"one\n")
    follower = StreamFollower(str(path), "stdout", head=100)
    assert follower.poll() == b"one\n"
    path.unlink()
    Path(f"{path}.idx").unlink()
    assert follower.poll() == b""
    LogBuilder(path).write("stdout", 2, b"two\n")
    assert follower.poll() == b"two\n"
    follower.close()
