"""Measures what the services use: seldom, more often while somebody looks, and never at a high price."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.journal.records import AnyJournal
from orchestra_supervisor.model.figures import ROLE_PREFIX, FigureRow, Figures
from orchestra_supervisor.model.spec import Seconds
from orchestra_supervisor.process.figures import Root
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.service import Service

__all__ = ["LOOK_PERIOD", "Meter", "Sampler", "Scene", "scene_of"]

LOOK_PERIOD: Seconds = 1.0
"""Between two looks while somebody watches; nobody gets them closer together."""
LOOKED_FOR: Seconds = 3.0
"""For which one question counts as watching."""
RECORD_PERIOD: Seconds = 10.0
"""Between two looks that are kept, at least: so the history has its bound whatever the period."""
SHARE = 0.01
"""Part of one processor that looking may take; where a look takes longer, the next one comes later."""
LOOK_SHARE = 0.05
"""That part while somebody watches."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Whom to look at: runs by service, and pids of our own processes by name."""

    runs: Mapping[str, Root]
    roles: Mapping[str, int]


def scene_of(services: Mapping[str, Service], roles: Mapping[str, int | None]) -> Scene:
    """Return the services that have a process, and those of our own processes that are there."""
    runs = {name: one.run for name, one in visible(services).items()}
    return Scene(
        {name: Root(run.id, run.pid) for name, run in runs.items() if run and run.pid},
        {f"{ROLE_PREFIX}{role}": pid for role, pid in roles.items() if pid is not None},
    )


class Sampler(Protocol):
    """Looks at processes; `process.figures.ProcessSampler` documents it."""

    @property
    def cost(self) -> float: ...  # noqa: D102  # documented there
    async def look(  # noqa: D102
        self, runs: Mapping[str, Root], roles: Mapping[str, int], now: float, at: float
    ) -> dict[str, Figures]: ...


@dataclass
class Meter:
    """Keeps the newest figures, and hands them to the journal.

    Attributes:
        sampler: Looks at processes.
        scene: Says whom to look at now.
        period: Seconds between two looks as configured now; 0: none at all.
        clock: Time.
        journal: Keeps the history.
    """

    sampler: Sampler
    scene: Callable[[], Scene]
    period: Callable[[], Seconds]
    clock: Clock
    journal: AnyJournal
    latest: Mapping[str, Figures] = field(default_factory=dict[str, Figures])
    """By service, and by ROLE_PREFIX and role; whoever is missing is unknown now."""
    _looked_until: float = field(default=float("-inf"))
    _recorded: float = field(default=float("-inf"))
    _wake: anyio.Event = field(default_factory=anyio.Event)

    def look(self) -> None:
        """Somebody watches: look often for a while."""
        now = self.clock.mono()
        if self._looked_until < now:
            self._wake.set()
        self._looked_until = now + LOOKED_FOR

    def wake(self) -> None:
        """Take up another period at once."""
        self._wake.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            began = self.clock.mono()
            if self.period():
                await self._sample(began)
            await self._pause(began)

    def _interval(self) -> Seconds:
        period = max(self.period(), LOOK_PERIOD)
        if self._looked_until >= self.clock.mono():
            return max(min(period, LOOK_PERIOD), self.sampler.cost / LOOK_SHARE)
        return max(period, self.sampler.cost / SHARE)

    async def _pause(self, began: float) -> None:
        """Sleep until the next look is due; what that is may change meanwhile."""
        while True:
            self._wake = anyio.Event()
            is_off = not self.period()
            if is_off:
                self.latest = {}
            due = math.inf if is_off else began + self._interval()
            if due <= self.clock.mono():
                return
            with anyio.CancelScope(deadline=due):
                await self._wake.wait()

    async def _sample(self, began: float) -> None:
        scene = self.scene()
        self.latest = await self.sampler.look(scene.runs, scene.roles, began, self.clock.wall())
        if self.latest and began - self._recorded >= RECORD_PERIOD:
            self._recorded = began
            self.journal.add_figures([FigureRow(name, one) for name, one in self.latest.items()])
