"""Runs that an earlier daemon left behind of services that are no more, and that have been told to stop."""

from collections.abc import Iterable

from orchestra_supervisor.process.orders import slot_of
from orchestra_supervisor.rules.inputs import Ack, Effect, Gone, StopRun

__all__ = ["Strangers"]


class Strangers:
    """Knows which slots are still held by such runs, so that nobody begins beside one."""

    def __init__(self) -> None:
        self._runs: dict[str, str] = {}

    def expect(self, effects: Iterable[Effect]) -> None:
        """Take note of the runs that are stopped."""
        self._runs |= {slot_of(effect.run): effect.run for effect in effects if isinstance(effect, StopRun)}

    def is_gone(self, gone: Gone) -> tuple[Effect, ...]:
        """Take note that a run is gone; returns what is to be ordered: what followed it has to go too."""
        if self._runs.get(slot_of(gone.run)) == gone.run:
            del self._runs[slot_of(gone.run)]
        following = (StopRun(gone.next),) if gone.next else ()
        self.expect(following)
        return (Ack(gone.run), *following)

    def take(self, name: str) -> str | None:
        """Return the run that holds a service's slot, whose end is that service's affair from now on."""
        return self._runs.pop(name, None)
