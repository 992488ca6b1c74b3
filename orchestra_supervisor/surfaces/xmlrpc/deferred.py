"""Calls whose answer has to wait: for processes to have started, or to be down.

supervisord asks each of them again and again; here they are looked at when something changes. Nothing else
waits for them, and what was asked for goes on when a client does not wait for its answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault
from orchestra_supervisor.surfaces.xmlrpc.names import Process
from orchestra_supervisor.surfaces.xmlrpc.states import (
    STOPPED_STATES,
    ProcessState,
    has_ended_quickly,
    state_of,
)

__all__ = ["Outcome", "StartWatch", "StopWatch", "Watch", "result_of", "settle"]

_ENDED = frozenset({ProcessState.BACKOFF, ProcessState.FATAL, ProcessState.EXITED})


@dataclass(slots=True)
class StartWatch:
    """Whether a process that was started has come to run.

    Attributes:
        process: Which.
        name: As the client called it: what a fault names.
        before: Id of the run that was there before, on its way out.
        run: Id of the run that came of it, once there is one.
    """

    process: Process
    name: str
    before: str | None
    run: str | None = None

    def look(self, service: Service | None) -> bool:
        """Return whether it runs.

        Raises:
            RpcFault: SPAWN_ERROR or ABNORMAL_TERMINATION: it will not.
        """
        if service is None:
            raise RpcFault(Fault.ABNORMAL_TERMINATION, self.name)
        now = service.run.id if service.run is not None else None
        if self.run is None and now != self.before:
            self.run = now
        is_its_own = self.run is not None and now == self.run
        state = state_of(service)
        if service.listening or (state is ProcessState.RUNNING and is_its_own):
            return True
        if state is ProcessState.STOPPED or (state is ProcessState.STOPPING and is_its_own):
            raise RpcFault(Fault.ABNORMAL_TERMINATION, self.name)
        if state in _ENDED or (self.run is not None and not is_its_own):
            if _has_run(service):
                return True  # and has ended since: it had started all the same
            raise RpcFault(Fault.SPAWN_ERROR, self.name)
        return False


def _has_run(service: Service) -> bool:
    """Return whether its last run got as far as to count as started."""
    ended = service.exit
    is_real = ended is not None and (ended.code is not None or ended.signal is not None)
    return is_real and not has_ended_quickly(service)


@dataclass(slots=True)
class StopWatch:
    """Whether a process that was stopped is down.

    Attributes:
        process: Which.
        run: Id of the run that is to end.
    """

    process: Process
    run: str | None

    def look(self, service: Service | None) -> bool:
        """Return whether nothing of that run is left."""
        if service is None:
            return True
        if service.run is None:
            return state_of(service) in STOPPED_STATES
        return service.run.id != self.run


Watch = StartWatch | StopWatch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one process; no fault: what was wanted."""

    process: Process
    fault: RpcFault | None = None


async def settle(core: Core, watches: Sequence[Watch]) -> list[Outcome]:
    """Wait until each has come to an end, and return them in the order in which they did.

    Args:
        core: Knows how services stand.
        watches: What is waited for.
    """
    done: list[Outcome] = []
    waiting = list(watches)
    while True:
        waiting = [watch for watch in waiting if not _is_over(watch, core, done.append)]
        if not waiting:
            return done
        await core.wait_changed()


def _is_over(watch: Watch, core: Core, tell: Callable[[Outcome], None]) -> bool:
    try:
        if not watch.look(core.services.get(watch.process.service)):
            return False
    except RpcFault as fault:
        tell(Outcome(watch.process, fault))
        return True
    tell(Outcome(watch.process))
    return True


def result_of(outcome: Outcome) -> dict[str, object]:
    """Return what became of one process of several, as supervisord has it."""
    fault = outcome.fault
    return {
        "name": outcome.process.name,
        "group": outcome.process.group,
        "status": int(Fault.SUCCESS if fault is None else fault.fault),
        "description": "OK" if fault is None else fault.text,
    }
