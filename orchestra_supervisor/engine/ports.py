"""What the engine needs of the outside world; the simulation puts others in their place."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from orchestra_supervisor.model.equipment import LimitsSpec, SocketSpec
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.spec import NetworkCheck, PluginCheck, ServiceSpec, StopSpec
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.process.orders import LogTarget, News, SpawnOrder
from orchestra_supervisor.rules.successor import Successor

__all__ = ["Checker", "Clock", "EventLog", "KeeperPort", "OrderMaker", "SecretResolver", "TargetPreparer"]

Checker = Callable[[NetworkCheck | PluginCheck, float], Awaitable[ProbeOutcome]]
"""Carries out one check that needs no process of its own within a timeout in seconds."""

SecretResolver = Callable[[dict[str, str]], Awaitable[dict[str, str]]]
"""Returns an environment with every secret reference replaced; raises SecretError."""

TargetPreparer = Callable[[ServiceSpec, SpawnOrder], Awaitable[SpawnOrder]]
"""Returns the order for a run as the service's target wants it; raises SpawnFailed."""


class Clock(Protocol):
    """Time and fresh names."""

    def mono(self) -> float:
        """Return seconds of the monotonic clock on which the event loop sleeps."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch."""
        ...

    def run_digits(self) -> str:
        """Return 12 fresh random hex digits."""
        ...


class KeeperPort(Protocol):
    """The keeper as the engine orders it; `KeeperClient` documents each order."""

    def spawn(self, order: SpawnOrder, note: object) -> None: ...  # noqa: D102  # documented there
    def again(self, run: str, successor: Successor | None) -> None: ...  # noqa: D102
    def stop(self, run: str, stop: StopSpec | None = None) -> None: ...  # noqa: D102
    def limits(self, run: str, limits: LimitsSpec) -> None: ...  # noqa: D102
    def listen(self, slot: str, sockets: tuple[SocketSpec, ...]) -> None: ...  # noqa: D102
    def unlisten(self, slot: str) -> None: ...  # noqa: D102
    def ack(self, run: str) -> None: ...  # noqa: D102
    def note(self, slot: str, note: object) -> None: ...  # noqa: D102
    def log_config(self, target: LogTarget) -> None: ...  # noqa: D102
    def shutdown(self) -> None: ...  # noqa: D102
    def quit(self, status: int) -> None: ...  # noqa: D102
    def status(self, state: str, text: str) -> None: ...  # noqa: D102
    def pong(self, number: int) -> None: ...  # noqa: D102
    async def signal(self, run: str, signal: str, scope: str) -> None: ...  # noqa: D102
    async def input(self, run: str, text: str) -> None: ...  # noqa: D102
    async def flush(self) -> None: ...  # noqa: D102
    def news(self) -> AsyncIterator[News]: ...  # noqa: D102


class EventLog(Protocol):
    """Where events go: numbered at once, written when there is time."""

    def record_nowait(self, event: Event) -> Event:
        """Take an event and return it with its `seq`. Never blocks."""
        ...


OrderMaker = Callable[[ServiceSpec, str], SpawnOrder]
"""Makes the spawn order of a service for a run id, secrets not yet resolved."""
