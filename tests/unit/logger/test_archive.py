"""Names keep their order whatever the clock does, and only what is too old is deleted."""

import fcntl
import gzip
import os
import selectors
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.logfile.segments import list_segments, parse_stamp, split_name, stamp_of, stamp_wall
from orchestra_supervisor.logger.archive import Archive
from orchestra_supervisor.logger.packer import Packer, pack

STAMP = "20260102T030405.000006Z"


@given(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000))
def test_stamps_sort_by_age_even_when_the_clock_is_set_back(first: int, second: int) -> None:
    before = stamp_of(first * 1_000_000_007)
    after = stamp_of(second * 1_000_000_007, before)
    assert before < after
    assert parse_stamp(before) < parse_stamp(after)


def test_a_stamp_tells_the_instant() -> None:
    assert stamp_of(1_767_323_045_000_006_999) == STAMP
    assert stamp_wall(STAMP) == pytest.approx(1_767_323_045.000006)
    assert stamp_wall("20269999T999999.000000Z") == 0.0


def test_only_files_of_this_log_are_its_segments(tmp_path: Path) -> None:
    names = [f"web.log.{STAMP}", f"web.log.{STAMP}.gz", f"web.log.{STAMP}.idx", "web.log.1", "web.log.idx"]
    for name in [*names, f"web.log.old.{STAMP}", f"other.log.{STAMP}"]:
        (tmp_path / name).touch()
    assert [segment.path for segment in list_segments(str(tmp_path / "web.log"))] == [
        str(tmp_path / names[0])
    ]
    assert split_name(names[2]) == ("web.log", STAMP, ".idx")
    assert split_name("web.log.1") is None


def test_a_pack_replaces_its_segment_with_its_date(tmp_path: Path) -> None:
    segment = tmp_path / f"web.log.{STAMP}"
    segment.write_bytes(b"line\n" * 1000)
    os.utime(segment, (1000, 1000))
    pack(str(segment))
    packed = Path(f"{segment}.gz")
    assert [each.name for each in tmp_path.iterdir()] == [packed.name]
    assert gzip.decompress(packed.read_bytes()) == b"line\n" * 1000
    assert packed.stat().st_mtime == 1000


def test_a_segment_that_another_child_packs_is_left_to_it(tmp_path: Path) -> None:
    segment = tmp_path / f"web.log.{STAMP}"
    segment.write_bytes(b"line\n")
    temporary = Path(f"{segment}.gz.tmp")
    temporary.write_bytes(b"half a pack")
    with segment.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        pack(str(segment))
        assert segment.exists()
        assert temporary.read_bytes() == b"half a pack"
    pack(str(segment))
    assert not segment.exists()


def test_packing_a_segment_that_was_deleted_leaves_nothing(tmp_path: Path) -> None:
    pack(str(tmp_path / f"web.log.{STAMP}"))
    assert list(tmp_path.iterdir()) == []


def test_half_deleted_segments_do_not_count_and_are_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    stamps = [f"2026010{day}T000000.000000Z" for day in range(1, 6)]
    leavings: dict[str, set[str]] = {
        stamps[0]: {".idx"},
        stamps[1]: {".gz", ".idx"},
        stamps[2]: {"", ".idx"},
        stamps[3]: {".gz.tmp"},
        stamps[4]: {".gz", ".gz.tmp"},
    }
    for stamp, kinds in leavings.items():
        for kind in kinds:
            Path(f"{path}.{stamp}{kind}").write_bytes(b"")
    with selectors.DefaultSelector() as selector:
        archive = Archive(str(path), leavings, Packer(selector))
        archive.tidy(backups=2, compress=False)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        f"web.log.{stamps[2]}",
        f"web.log.{stamps[2]}.idx",
        f"web.log.{stamps[4]}.gz",
    ]
    assert archive.next_path(0) == f"{path}.20260105T000000.000001Z"
