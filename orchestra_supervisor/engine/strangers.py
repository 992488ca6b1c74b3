"""Runs that an earlier daemon left behind of services that are no more: they are stopped, and awaited."""

from collections.abc import Container, Iterable

import anyio

from orchestra_supervisor.process.orders import slot_of
from orchestra_supervisor.rules.inputs import Effect, StopRun

__all__ = ["Strangers"]


class Strangers:
    """Knows which slots are still held by such runs, so that nobody starts beside one."""

    def __init__(self) -> None:
        self._runs: set[str] = set()
        self._left = anyio.Event()

    def expect(self, effects: Iterable[Effect]) -> None:
        """Take note of the runs that are stopped."""
        self._runs |= {effect.run for effect in effects if isinstance(effect, StopRun)}

    def is_gone(self, run: str) -> None:
        """Take note that a run is gone."""
        self._runs.discard(run)
        left, self._left = self._left, anyio.Event()
        left.set()

    def holding(self, names: Container[str]) -> list[str]:
        """Return those of the names whose slot is still held."""
        return sorted({slot for slot in map(slot_of, self._runs) if slot in names})

    async def wait_left(self) -> None:
        """Wait until a run is gone."""
        await self._left.wait()
