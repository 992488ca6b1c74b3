"""Which services behind a server over HTTP are told to end, and what its instances do about that."""

from collections.abc import Collection, Iterable

from orchestra_supervisor.gateway.backends.instance import Instance

__all__ = ["Ending"]

_STOPPING = "stopping"
_UP = frozenset({"running", "ready"})
"""States in which there may be something to connect to."""


class Ending:
    """See the module."""

    def __init__(self) -> None:
        self._services: set[str] = set()

    def told(self, service: str, state: str, instances: Iterable[Instance]) -> None:
        """Be told how a service of the backend is.

        Args:
            service: Its name.
            state: A word of the daemon's.
            instances: All of the backend.
        """
        if state == _STOPPING:
            self._services.add(service)
        else:
            self._services.discard(service)
        self._tell(instances, is_up=state in _UP)

    def limit(self, services: Collection[str], instances: Iterable[Instance]) -> None:
        """Be told which services the backend has: of one that it has no more the end may never be told."""
        if not self._services <= set(services):
            self._services.intersection_update(services)
            self._tell(instances, is_up=False)

    def _tell(self, instances: Iterable[Instance], *, is_up: bool) -> None:
        for instance in instances:
            if self._services:
                instance.let_go()
            else:
                instance.take_up(is_up=is_up)

    def begun(self, instance: Instance) -> None:
        """Be told of an instance that was not there before."""
        if self._services:
            instance.let_go()
