"""What a caller may wait for a service to become."""

from collections.abc import Callable

from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.rules.service import Service

__all__ = ["Goal", "is_completed", "is_down", "is_ready"]

Goal = Callable[[Service], bool | None]
"""True: met. False: it will not be met by itself. None: not yet."""


def is_ready(service: Service) -> bool | None:
    """Return whether a service does, or has done, what it is for."""
    if service.state in {State.READY, State.COMPLETED} and service.ending is None:
        return True
    if service.state is State.FAILED:
        return False
    if service.state is State.STOPPED and service.down_reason is not DownReason.NONE:
        return False
    return None


def is_down(service: Service) -> bool | None:
    """Return whether nothing of a service is left, and nothing comes by itself."""
    if service.run is None and service.state in {State.STOPPED, State.COMPLETED, State.FAILED}:
        return True
    return None


def is_completed(service: Service) -> bool | None:
    """Return whether a service has ended as it should."""
    if service.state is State.COMPLETED:
        return True
    return False if service.state is State.FAILED else None
