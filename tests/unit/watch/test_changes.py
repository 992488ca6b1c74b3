"""Changes on a real file system become paths for a task, whatever happens to the folders."""

import errno
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.watch import observer
from orchestra_supervisor.watch.changes import Changes, watching
from orchestra_supervisor.watch.hints import MAX_HINTS, Hints
from orchestra_supervisor.watch.observer import Watcher
from orchestra_supervisor.watch.patterns import Selection

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    one = Watcher()
    yield one
    one.close()


@asynccontextmanager
async def changes_of(watcher: Watcher, folder: Path, *paths: str) -> AsyncGenerator[Changes]:
    limiter = anyio.CapacityLimiter(2)
    spec = WatchSpec(paths=paths)
    with anyio.fail_after(20):
        async with watching(watcher, lambda: Selection(str(folder), spec), limiter) as changes:
            yield changes


async def until(changes: Changes, path: str) -> None:
    """Wait for changes until a path is among them."""
    while path not in await changes.wait():
        pass


@pytest.mark.slow
async def test_files_that_are_written_replaced_and_deleted_are_told(watcher: Watcher, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    async with changes_of(watcher, tmp_path, "src/**/*.py") as changes:
        (tmp_path / "src" / "a.txt").write_text("x", encoding="utf-8")
        (tmp_path / "src" / "a.py").write_text("x", encoding="utf-8")
        assert await changes.wait() == ("src/a.py",)
        (tmp_path / "src" / ".a.py.swp").write_text("y", encoding="utf-8")
        (tmp_path / "src" / "4913").write_text("y", encoding="utf-8")
        (tmp_path / "src" / "4913").replace(tmp_path / "src" / "b.py")
        await until(changes, "src/b.py")
        (tmp_path / "src" / "deep").mkdir()
        (tmp_path / "src" / "deep" / "c.py").write_text("x", encoding="utf-8")
        await until(changes, "src/deep/c.py")
        (tmp_path / "src" / "b.py").unlink()
        await until(changes, "src/b.py")
        assert (changes.files, changes.error) == (2, "")


@pytest.mark.slow
async def test_a_folder_that_is_removed_comes_back_and_is_replaced_stays_watched(
    watcher: Watcher, tmp_path: Path
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.py").write_text("x", encoding="utf-8")
    async with changes_of(watcher, tmp_path, "src/**/*.py") as changes:
        shutil.rmtree(source)
        assert await changes.wait()
        while changes.files:
            await changes.wait()
        source.mkdir()
        (source / "b.py").write_text("x", encoding="utf-8")
        while changes.files != 1:
            assert await changes.wait()
        other = tmp_path / "other"
        other.mkdir()
        for name in ("c.py", "d.py"):
            (other / name).write_text("x", encoding="utf-8")
        source.rename(tmp_path / "old")
        other.rename(source)
        while changes.files != 2:
            assert await changes.wait()
        (source / "e.py").write_text("x", encoding="utf-8")
        await until(changes, "src/e.py")


@pytest.mark.slow
async def test_two_who_watch_one_folder_are_both_told_and_one_may_leave(
    watcher: Watcher, tmp_path: Path
) -> None:
    async with changes_of(watcher, tmp_path, "*.py") as one:
        async with changes_of(watcher, tmp_path, "*.py") as other:
            (tmp_path / "a.py").write_text("x", encoding="utf-8")
            await until(one, "a.py")
            await until(other, "a.py")
        (tmp_path / "b.py").write_text("x", encoding="utf-8")
        await until(one, "b.py")


@pytest.mark.slow
async def test_a_limit_of_the_kernel_is_told_and_tried_again_later(
    watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr("orchestra_supervisor.watch.changes.RETRY", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(watcher._observer, "schedule", refuse)
        async with changes_of(watcher, tmp_path, "*.py") as changes:
            assert changes.error == f"{tmp_path} cannot be watched: inotify watch limit reached"
            patch.undo()
            await changes.wait()
            assert changes.error == ""
            (tmp_path / "a.py").write_text("x", encoding="utf-8")
            await until(changes, "a.py")


def test_hints_are_bounded_and_more_of_them_say_that_anything_may_have_changed() -> None:
    woken: list[int] = []
    hints = Hints(lambda: woken.append(1))
    for number in range(MAX_HINTS):
        hints.add(str(number))
    assert woken == [1]
    hints.add("one more")
    paths, has_overflowed = hints.take()
    assert (len(paths), has_overflowed) == (MAX_HINTS, True)
    hints.add("again")
    assert (woken, hints.take()) == ([1, 1], (frozenset({"again"}), False))


def test_an_observer_that_cannot_start_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher()

    def refuse(_self: object) -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    with monkeypatch.context() as patch:
        patch.setattr(observer.Observer, "start", refuse)
        _, problem = watcher.cover(Hints(lambda: None), {str(tmp_path): False})
        assert "inotify instance limit reached" in problem
    assert watcher.cover(Hints(lambda: None), {str(tmp_path): False}) == (True, "")
    watcher.close()
