"""The oldest rotated segments go first, whosever they are; what is being written stays."""

from pathlib import Path

import pytest

from orchestra_supervisor.logger.options import Rotation
from orchestra_supervisor.logger.retention import Retention
from orchestra_supervisor.logger.timers import Timers

Told = list[tuple[str, dict[str, object]]]


class AtOnce(Timers):
    """Timers whose calls are due when they are asked for."""

    def after(self, delay: float, call):  # as it is there
        return super().after(min(delay, 0.0), call)


@pytest.fixture
def told() -> Told:
    return []


def put(directory: Path, name: str, size: int) -> None:
    (directory / name).write_bytes(b"x" * size)


def segment(directory: Path, log: str, second: int, size: int, *, kind: str = ".gz") -> None:
    put(directory, f"{log}.20260101T0000{second:02d}.000000Z{kind}", size)
    put(directory, f"{log}.20260101T0000{second:02d}.000000Z.idx", 10)


def names(directory: Path) -> list[str]:
    return sorted(each.name.replace(".20260101T0000", "@") for each in directory.iterdir())


def looked_at(directory: Path, told: Told, *, packing: bool = False, **limits: int) -> None:
    timers = AtOnce()
    retention = Retention(timers, lambda: packing, lambda kind, facts: told.append((kind, facts)))
    retention.limit(str(directory / "a.log"), Rotation(**limits))
    timers.run()


def fill(directory: Path) -> None:
    for log in ("a.log", "b.log"):
        put(directory, log, 100)
        put(directory, f"{log}.idx", 10)
    segment(directory, "a.log", 1, 90)
    segment(directory, "b.log", 2, 90)
    segment(directory, "a.log", 3, 90, kind="")
    segment(directory, "gone.log", 4, 90)
    put(directory, "of another program", 100_000)


def test_the_oldest_of_all_logs_go_until_the_directory_is_within_its_limit(
    tmp_path: Path, told: Told
) -> None:
    fill(tmp_path)
    looked_at(tmp_path, told, directory_keep_bytes=420)
    left = names(tmp_path)
    assert not [name for name in left if "@01" in name or "@02" in name]
    assert len([name for name in left if "@03" in name or "@04" in name]) == 4
    facts = {"path": str(tmp_path), "segments": 2, "bytes": 200, "limit": 420}
    assert told == [("removed", {**facts, "reason": "settings.log_keep_bytes"})]


def test_a_log_of_its_own_limit_loses_its_own_segments_alone(tmp_path: Path, told: Told) -> None:
    fill(tmp_path)
    looked_at(tmp_path, told, keep_bytes=210)
    left = names(tmp_path)
    assert not [name for name in left if "@01" in name]
    assert [name for name in left if "@02" in name]
    assert told[0][1]["reason"] == "log.keep_bytes"


def test_what_is_being_written_stays_however_large_it_is(tmp_path: Path, told: Told) -> None:
    fill(tmp_path)
    looked_at(tmp_path, told, directory_keep_bytes=1)
    assert names(tmp_path) == ["a.log", "a.log.idx", "b.log", "b.log.idx", "of another program"]
    assert told[0][1]["segments"] == 4


@pytest.mark.parametrize("limits", [{}, {"directory_keep_bytes": 620, "keep_bytes": 310}])
def test_within_the_limits_nothing_goes(tmp_path: Path, told: Told, limits: dict[str, int]) -> None:
    fill(tmp_path)
    before = names(tmp_path)
    looked_at(tmp_path, told, **limits)
    assert (names(tmp_path), told) == (before, [])


def test_while_segments_wait_to_be_packed_sizes_are_not_judged(tmp_path: Path, told: Told) -> None:
    fill(tmp_path)
    before = names(tmp_path)
    looked_at(tmp_path, told, packing=True, directory_keep_bytes=1)
    assert names(tmp_path) == before
