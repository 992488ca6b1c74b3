"""Where a fleet as a whole stands."""

from enum import StrEnum

__all__ = ["Phase"]


class Phase(StrEnum):
    """Where the fleet as a whole stands."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DOWN = "down"
    REPLACED = "replaced"
