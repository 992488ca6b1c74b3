"""Keeps the standing orders that the keeper holds in step with what the rules say.

Which runs may follow by one is decided here as well: those whose order would be the same at any moment. A
service with secrets is asked for them anew at each start, one that runs elsewhere is prepared anew, and what
belongs to an MCP server's pipes is the gateway's affair: these wait for the daemon, as all did before.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestra_supervisor.engine.order_secrets import has_secrets
from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.model.spec import ServiceSpec, TargetSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.orders import SpawnOrder
from orchestra_supervisor.rules.diff import whole_digest
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.rules.successor import Successor, successor_of

__all__ = ["Succession"]

_HERE = TargetSpec()


class Succession:
    """What follows which run by itself.

    Args:
        keeper: Takes the orders.
        services: The records of all services, as they stand.
        beside: What an order of a service has beside its spec, spelt out.
    """

    def __init__(
        self,
        keeper: KeeperPort,
        services: Callable[[], Mapping[str, Service]],
        beside: Callable[[str], str],
    ) -> None:
        self._keeper = keeper
        self._services = services
        self._beside = beside
        self._keys: dict[str, str] = {}
        """By which the keeper knows the order of a run, by run."""
        self._left: dict[str, Successor | None] = {}
        """What the keeper holds, by run; a run that is missing: not known."""
        self._latest: dict[str, str] = {}
        """The last run that was ordered, by service: one that never began is acknowledged by nobody."""

    def dress(self, order: SpawnOrder, service: Service) -> SpawnOrder:
        """Return a spawn order with the standing one that goes with it, and take note of both."""
        self.forget(self._latest.pop(order.slot, ""))
        if not _is_for_good(service.spec, order):
            return order
        self._latest[order.slot] = order.run
        key, successor = self._key(service.spec), successor_of(service, self._services())
        self._keys[order.run], self._left[order.run] = key, successor
        return replace(order, key=key, successor=successor)

    def holds(self, run: str, key: str) -> None:
        """Take note of what the keeper knows of a run that an earlier daemon ordered."""
        if key:
            self._keys[run] = key

    def took(self, run: str, before: str) -> None:
        """Take note that a run has followed: by the same order, and with nothing to follow it."""
        key = self._keys.pop(before, "")
        self._left.pop(before, None)
        if key:
            self._keys[run], self._left[run] = key, None

    def update(self, service: Service) -> None:
        """Leave, change or take back the standing order for the present run of a service."""
        run = service.run
        if run is None or run.leader_ended or run.id not in self._keys:
            return  # of one that has ended the keeper has made up its mind
        if service.state is State.STOPPING:  # whatever is stopped has no successor any more
            self._left[run.id] = None
            return
        successor = successor_of(service, self._services())
        if successor is not None and self._keys[run.id] != self._key(service.spec):
            successor = None
        if run.id not in self._left or self._left[run.id] != successor:
            self._left[run.id] = successor
            self._keeper.again(run.id, successor)

    def forget(self, run: str) -> None:
        """Forget a run that is over."""
        self._keys.pop(run, None)
        self._left.pop(run, None)

    def _key(self, spec: ServiceSpec) -> str:
        return f"{whole_digest(spec)} {self._beside(spec.name)}"


def _is_for_good(spec: ServiceSpec, order: SpawnOrder) -> bool:
    """Return whether another run may be started by the very same order, whenever that is."""
    is_piped = order.stdio or order.channel
    return not (is_piped or order.after or has_secrets(order) or spec.target != _HERE)
