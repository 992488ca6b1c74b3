"""Acts on changed files: gives a service a new run, or tells it to read its configuration again."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import anyio.abc

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.model.errors import OrchestraError
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.rules.watching import MOST_ACTIONS, WINDOW, act_at, pause_until

__all__ = ["Act", "ChangeFeed", "OpenWatch", "Watches", "gather", "words_of"]

_MOST_TOLD = 20  # paths that an event names


class ChangeFeed(Protocol):
    """Changes of one selection of files; `watch.changes.Changes` documents it."""

    @property
    def error(self) -> str: ...  # noqa: D102
    @property
    def files(self) -> int: ...  # noqa: D102
    async def wait(self) -> tuple[str, ...]: ...  # noqa: D102


OpenWatch = Callable[[str, WatchSpec], AbstractAsyncContextManager[ChangeFeed]]
"""Watches the files of a working directory for the time of a block."""

Act = Callable[[str, WatchSpec, str], Awaitable[bool]]
"""Acts on a change: (service, watch, why); returns whether there was anything to do."""


@dataclass
class _Task:
    cwd: str
    spec: WatchSpec
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    feed: ChangeFeed | None = None
    problem: str = ""
    recent: tuple[float, ...] = ()


class Watches:
    """Keeps one task for each watched service.

    Args:
        clock: Time.
        bus: Where events go.
        open_watch: Watches files.
        act: Carries out what a change asks for.
        task_group: Owner of the tasks; the daemon's.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        bus: EventBus,
        open_watch: OpenWatch,
        act: Act,
        task_group: anyio.abc.TaskGroup,
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._open = open_watch
        self._act = act
        self._task_group = task_group
        self._tasks: dict[str, _Task] = {}

    def reconcile(self, specs: Mapping[str, ServiceSpec]) -> None:
        """Start and cancel tasks so that exactly the watches that are configured run."""
        for name in list(self._tasks):
            task, spec = self._tasks[name], specs.get(name)
            if spec is None or (spec.cwd, spec.watch) != (task.cwd, task.spec):
                task.scope.cancel()
                del self._tasks[name]
        for name, spec in specs.items():
            if spec.watch is not None and name not in self._tasks:
                task = self._tasks[name] = _Task(spec.cwd, spec.watch)
                self._task_group.start_soon(self._watch, name, task)

    def report(self, name: str) -> dict[str, object] | None:
        """Return what status says of a service's watch; None where it has none."""
        task = self._tasks.get(name)
        if task is None:
            return None
        files = 0 if task.feed is None else task.feed.files
        return {"paths": task.spec.paths, "files": files, "error": task.problem}

    async def _watch(self, name: str, task: _Task) -> None:
        with task.scope:
            async with self._open(task.cwd, task.spec) as feed:
                task.feed = feed
                self._tell_trouble(name, task, feed.error)
                while True:
                    paths = await feed.wait()
                    self._tell_trouble(name, task, feed.error)
                    if paths:
                        await self._pace(name, task)
                        paths = await gather(self._clock, feed, paths, task.spec.debounce)
                        await self._answer(name, task, paths)

    async def _pace(self, name: str, task: _Task) -> None:
        """Pause a watch that acts without end."""
        until = pause_until(task.recent, self._clock.mono())
        if until is None:
            return
        pause = until - self._clock.mono()
        task.problem = f"paused: {MOST_ACTIONS} times within {WINDOW:g} s"
        text = f"{task.problem}; goes on in {pause:.0f} s. Does the service write what it is watched for?"
        self._bus.publish("watch.paused", text, service=name)
        await anyio.sleep(pause)
        task.problem = ""
        self._bus.publish("watch.resumed", "goes on after its pause", service=name)

    async def _answer(self, name: str, task: _Task, paths: tuple[str, ...]) -> None:
        why = words_of(paths)
        try:
            is_done = await self._act(name, task.spec, why)
        except OrchestraError as error:
            self._bus.publish(
                "watch.failed", f"{why}, and nothing could be done: {error.message}", service=name
            )
            return
        if is_done:
            task.recent = (*task.recent, self._clock.mono())[-MOST_ACTIONS:]
            data: dict[str, object] = {
                "paths": [path for path in paths if path][:_MOST_TOLD],
                "count": len(paths),
                "action": task.spec.action,
            }
            self._bus.publish("watch.changed", f"{why}: {task.spec.action}", service=name, data=data)

    def _tell_trouble(self, name: str, task: _Task, error: str) -> None:
        if error and error != task.problem:
            self._bus.publish("watch.failed", error, service=name)
        elif task.problem and not error:
            self._bus.publish("watch.recovered", "its files are watched again", service=name)
        task.problem = error


async def gather(clock: Clock, feed: ChangeFeed, paths: Iterable[str], debounce: float) -> tuple[str, ...]:
    """Wait until a burst of changes is over; return all its paths.

    Args:
        clock: Time.
        feed: Tells of more.
        paths: What it began with.
        debounce: Seconds of quiet that end it.
    """
    found = dict.fromkeys(paths)
    first = last = clock.mono()
    while (rest := act_at(first, last, debounce) - clock.mono()) > 0:
        with anyio.move_on_after(rest) as scope:
            found |= dict.fromkeys(await feed.wait())
            last = clock.mono()
        if scope.cancelled_caught:
            break
    return tuple(found)


def words_of(paths: tuple[str, ...]) -> str:
    """Say which files changed, in one clause."""
    named = [path for path in paths if path]
    if not named:
        return "watched files changed"
    more = f" and {len(named) - 1} more" if len(named) > 1 else ""
    return f"{named[0]}{more} changed"
