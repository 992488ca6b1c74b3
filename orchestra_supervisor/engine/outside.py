"""What the supervisor needs of the world, handed to it as one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.order_secrets import TakeDown
from orchestra_supervisor.engine.ports import Checker, Clock, KeeperPort, SecretResolver, TargetPreparer
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.process.orders import RunNews, SpawnOrder
from orchestra_supervisor.rules.exit_policy import FleetExit

__all__ = ["Outside", "as_ordered", "at_once"]


async def at_once() -> None:
    """Return: events need no writing."""


async def as_ordered(_spec: ServiceSpec, order: SpawnOrder) -> SpawnOrder:
    """Return the order as it is: a target that knows only this host."""
    return order


@dataclass(frozen=True, slots=True)
class Outside:
    """What the supervisor needs of the world.

    Attributes:
        keeper: Carries out orders and brings news.
        clock: Time.
        bus: Where events go.
        launcher: Makes spawn orders.
        network: Carries out http and tcp checks.
        secrets: Resolves secret references of an environment.
        targets: Asks for the local process of a run that is to be elsewhere.
        on_reload: Called when SIGHUP asks for a reload.
        on_run: Called with all news of services' runs, for the journal's ledger.
        on_plan: Called with how far a periodic service has come with its schedule (`PlanLedger`).
        on_exit: Called when the fleet is about to end by itself.
        take_down: Told which values of secrets a run gets (`SecretLedger`).
        written: Waits, within bounds, until the events published so far outlive this daemon.
        keep: Makes a fleet the applied one, where a roll changes it; raises ConflictError.
    """

    keeper: KeeperPort
    clock: Clock
    bus: EventBus
    launcher: Launcher
    network: Checker
    secrets: SecretResolver
    on_reload: Callable[[], None]
    on_run: Callable[[RunNews], None]
    on_plan: Callable[[str, float | None], None]
    written: Callable[[], Awaitable[None]] = at_once
    keep: Callable[[Fleet], None] = lambda _: None
    on_exit: Callable[[FleetExit], None] = lambda _: None
    take_down: TakeDown | None = None
    targets: TargetPreparer = as_ordered
