"""Two packers of one segment, as a killed logger and its successor start them, leave exactly one pack."""

import gzip
import os
from pathlib import Path

import pytest

from orchestra_supervisor.logger import packer

CONTENT = b"a line\n" * 2000


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "web.log.20260101T000000.000000Z"
    path.write_bytes(CONTENT)
    return path


def packed(segment: Path) -> bytes:
    return gzip.decompress(Path(f"{segment}.gz").read_bytes())


def test_a_second_packer_that_comes_before_the_first_removes_the_segment_leaves_its_pack(
    segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = os.unlink
    came: list[str] = []

    def second_comes_first(path: str) -> None:
        if not came:
            came.append(path)
            packer.pack(str(segment))
        remove(path)

    monkeypatch.setattr(os, "unlink", second_comes_first)
    packer.pack(str(segment))
    assert came == [str(segment)]
    assert packed(segment) == CONTENT
    assert not segment.exists()


def test_a_packer_that_has_the_segment_open_when_the_first_one_finishes_leaves_its_pack(
    segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has opened the segment; the first packs and removes it before the second locks it."""
    lock = packer.fcntl.flock
    came: list[int] = []

    def first_finishes(fd: int, how: int) -> None:
        if not came:
            came.append(fd)
            packer.pack(str(segment))
        lock(fd, how)

    monkeypatch.setattr(packer.fcntl, "flock", first_finishes)
    packer.pack(str(segment))
    assert len(came) == 1
    assert packed(segment) == CONTENT
    assert [one.name for one in segment.parent.iterdir()] == [f"{segment.name}.gz"]


def test_a_temporary_file_that_a_killed_packer_left_is_begun_anew(segment: Path) -> None:
    Path(f"{segment}.gz.tmp").write_bytes(b"half a pack" * 10_000)
    packer.pack(str(segment))
    assert packed(segment) == CONTENT
    assert [one.name for one in segment.parent.iterdir()] == [f"{segment.name}.gz"]


def test_a_segment_that_was_deleted_as_too_old_meanwhile_leaves_no_pack(
    segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def deleted_just_before(source: str, target: str) -> None:
        segment.unlink()
        rename(source, target)

    monkeypatch.setattr(os, "rename", deleted_just_before)
    packer.pack(str(segment))
    assert list(segment.parent.iterdir()) == []


def test_a_segment_that_is_not_there_any_more_is_nobodys_concern(segment: Path) -> None:
    segment.unlink()
    packer.pack(str(segment))
    assert list(segment.parent.iterdir()) == []
