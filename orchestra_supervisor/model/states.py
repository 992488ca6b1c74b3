"""The words for where a service stands, and why."""

from enum import StrEnum

__all__ = ["ALIVE_STATES", "SETTLED_STATES", "Condition", "Desired", "DownReason", "Kind", "State"]


class Kind(StrEnum):
    """What a service is."""

    DAEMON = "daemon"
    """Runs until stopped."""
    ONCE = "once"
    """Runs to its end, once a fleet start."""
    PERIODIC = "periodic"
    """Runs to its end, again and again by a schedule."""


class State(StrEnum):
    """Where a service stands, as a person sees it."""

    STOPPED = "stopped"
    """Not wanted, and nothing of it runs."""
    WAITING = "waiting"
    """Wanted; waits for a dependency, for its start delay, or for the first run of its schedule."""
    STARTING = "starting"
    """Being spawned, or spawned and its startup probe has not passed."""
    RUNNING = "running"
    """Alive; its readiness probe has not passed yet."""
    READY = "ready"
    """Alive and able to serve (or has no readiness probe)."""
    UNHEALTHY = "unhealthy"
    """Alive; was ready, and its readiness probe fails now."""
    BACKOFF = "backoff"
    """Ended; the next start is due at a known instant."""
    STOPPING = "stopping"
    """Its stop sequence runs; ends when nothing of the run is left."""
    COMPLETED = "completed"
    """Ended as it should, and is not started again."""
    FAILED = "failed"
    """Ended as it should not, and policy does not start it again."""


ALIVE_STATES = frozenset({State.STARTING, State.RUNNING, State.READY, State.UNHEALTHY, State.STOPPING})
"""States in which a process of the service may exist."""

SETTLED_STATES = frozenset({State.STOPPED, State.READY, State.COMPLETED, State.FAILED})
"""States that last until something happens from outside."""


class Desired(StrEnum):
    """What is wanted of a service, apart from where it stands."""

    UP = "up"
    DOWN = "down"


class DownReason(StrEnum):
    """Why a service is wanted down."""

    NONE = ""
    DISABLED = "disabled"
    """`enabled: false`: known, never started by itself."""
    NOT_SELECTED = "not_selected"
    """Left out by `up --only`."""
    OPERATOR = "operator"
    """Stopped by hand; remembered over a daemon's death."""
    SHUTDOWN = "shutdown"
    """The fleet goes down."""
    REMOVED = "removed"
    """Gone from the configuration."""
    DEMAND = "demand"
    """Started on demand, and nobody has asked; as good as up."""


class Condition(StrEnum):
    """What a dependent waits for."""

    STARTED = "started"
    """A process of the dependency runs."""
    READY = "ready"
    """The dependency is ready (a `once` service: completed)."""
    COMPLETED = "completed"
    """The dependency ended with success (a `periodic` service: its last run did)."""
