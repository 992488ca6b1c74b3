"""The tasks of a backend's instances: each its own, so that one that fails disturbs no other."""

import logging

import anyio
import anyio.abc

from orchestra_supervisor.gateway.backends.instance import Instance

__all__ = ["Crew"]

_log = logging.getLogger("orchestra.gateway")

_REST = 1.0  # seconds before a task that failed is begun again


class Crew:
    """Runs instances, those added before it runs as well.

    Args:
        name: Of the backend, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._group: anyio.abc.TaskGroup | None = None
        self._scopes: dict[Instance, anyio.CancelScope] = {}
        self._waiting: list[Instance] = []

    def begin(self, group: anyio.abc.TaskGroup) -> None:
        """Run the instances in a task group, from here on."""
        self._group = group
        waiting, self._waiting = self._waiting, []
        for instance in waiting:
            self.add(instance)

    def end(self) -> None:
        """Begin no more tasks: the group ends."""
        self._group = None

    def add(self, instance: Instance) -> None:
        """Run an instance."""
        if self._group is None:
            self._waiting.append(instance)
        else:
            # From here on, not from the task's first step: it may be dropped before that.
            scope = self._scopes[instance] = anyio.CancelScope()
            self._group.start_soon(self._keep, instance, scope)

    def drop(self, instance: Instance) -> None:
        """End an instance."""
        if instance in self._waiting:
            self._waiting.remove(instance)
        scope = self._scopes.get(instance)
        if scope is not None:
            scope.cancel()

    async def _keep(self, instance: Instance, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                while not scope.cancel_called:
                    try:
                        await instance.run()
                    except Exception:  # noqa: BLE001 - the edge of an actor: nobody else is disturbed
                        _log.exception("mcp.instance_failed", extra={"backend": self._name})
                        await anyio.sleep(_REST)
        finally:
            del self._scopes[instance]
