"""Our states in supervisord's words, and the sets of them that its methods go by.

Source: supervisor 4.3, `states.py`.
"""

from enum import IntEnum

from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.restart import wants_restart
from orchestra_supervisor.rules.service import Service

__all__ = [
    "RUNNING_STATES",
    "SIGNALLABLE_STATES",
    "STOPPED_STATES",
    "ProcessState",
    "has_ended_quickly",
    "state_of",
]


class ProcessState(IntEnum):
    """The states of a process. UNKNOWN never comes from us."""

    STOPPED = 0
    STARTING = 10
    RUNNING = 20
    BACKOFF = 30
    STOPPING = 40
    EXITED = 100
    FATAL = 200
    UNKNOWN = 1000


RUNNING_STATES = frozenset({ProcessState.RUNNING, ProcessState.BACKOFF, ProcessState.STARTING})
STOPPED_STATES = frozenset(
    {ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL, ProcessState.UNKNOWN}
)
SIGNALLABLE_STATES = frozenset({ProcessState.RUNNING, ProcessState.STARTING, ProcessState.STOPPING})

_PLAIN = {
    State.STOPPED: ProcessState.STOPPED,
    State.WAITING: ProcessState.STARTING,
    State.STARTING: ProcessState.STARTING,
    State.RUNNING: ProcessState.RUNNING,
    State.READY: ProcessState.RUNNING,
    State.UNHEALTHY: ProcessState.RUNNING,
    State.BACKOFF: ProcessState.BACKOFF,
    State.STOPPING: ProcessState.STOPPING,
    State.COMPLETED: ProcessState.EXITED,
}


def state_of(service: Service) -> ProcessState:
    """Return where a service stands, in supervisord's words."""
    if service.state is State.WAITING and service.is_idle:
        return ProcessState.STOPPED  # a periodic service before its first run
    if service.state is not State.FAILED:
        return _PLAIN[service.state]
    ended = service.exit is not None and (service.exit.code is not None or service.exit.signal is not None)
    gave_up = wants_restart(service.spec.restart, service.spec.kind, success=False)
    if ended and not gave_up and not has_ended_quickly(service):
        return ProcessState.EXITED
    return ProcessState.FATAL


def has_ended_quickly(service: Service) -> bool:
    """Return whether its last run ended before it counted as started."""
    return service.failed_starts > 0
