"""What a backend sees to now and then: seats without an owner, servers that nobody calls or that hang."""

import logging
from contextlib import suppress

import anyio

from orchestra_supervisor.gateway.backends.callbacks import Callbacks, NotDone
from orchestra_supervisor.gateway.backends.choice import Chooser, Seat
from orchestra_supervisor.gateway.backends.health import UNANSWERED
from orchestra_supervisor.gateway.backends.instance import Instance
from orchestra_supervisor.gateway.backends.link import LinkError
from orchestra_supervisor.gateway.backends.runner import Runner
from orchestra_supervisor.gateway.backends.spec import BackendSpec

__all__ = ["Upkeep"]

_ASK_AGAIN = 30.0  # seconds before the daemon is asked once more to end what hangs, where it did not

_log = logging.getLogger("orchestra.gateway")


class Upkeep:
    """See the module.

    Args:
        chooser: Has the instances.
        runner: Stops them.
        callbacks: To the daemon.
    """

    def __init__(self, chooser: Chooser, runner: Runner, callbacks: Callbacks) -> None:
        self._chooser = chooser
        self._runner = runner
        self._callbacks = callbacks
        self._asked_at: dict[str, float] = {}
        """When the end of a service that hangs was asked for."""

    async def look(self, spec: BackendSpec) -> None:
        """See to all of it once."""
        for seat in self._chooser.expired():
            await self.clear(seat)
        services = {seat.service for seat in self._chooser.seats if seat.service}
        for service in services:
            instances = [seat.instance for seat in self._chooser.seats if seat.service == service]
            if spec.is_lazy and spec.idle_stop:
                await self._stop_idle(service, instances, anyio.current_time() - spec.idle_stop)
            # Which replica does not answer cannot be told over one address.
            if spec.is_ended_when_hung and (spec.is_stdio or len(spec.members) == 1):
                await self._end_hung(service, instances, spec)

    async def clear(self, seat: Seat) -> None:
        """End what the last owner of a seat has left; where that fails, whoever gets it next sees to it."""
        with suppress(LinkError):
            await self._chooser.clear(seat)

    async def _stop_idle(self, service: str, instances: list[Instance], oldest: float) -> None:
        if all(one.is_idle_since(oldest) for one in instances) and any(one.is_ready for one in instances):
            is_stopped = await self._runner.stop(instances[0], service)
            for other in instances[1:] if is_stopped else ():
                await self._runner.forget(other)

    async def _end_hung(self, service: str, instances: list[Instance], spec: BackendSpec) -> None:
        connected = [one for one in instances if one.is_ready]
        silent = [one for one in connected if _is_hung(one, spec.timeout)]
        if not silent or not all(one.unanswered for one in connected):
            self._asked_at.pop(service, None)
            return
        now = anyio.current_time()
        if now - self._asked_at.get(service, -_ASK_AGAIN) < _ASK_AGAIN:
            return
        self._asked_at[service] = now
        why = f"{silent[0].unanswered} questions of the gateway in {now - silent[0].last_answer:.0f} s"
        try:
            await self._callbacks.hung(service, why)
        except NotDone as error:
            _log.warning("%s does not answer, and its run cannot be ended: %s", service, error)


def _is_hung(instance: Instance, longest: float) -> bool:
    """Return whether a server has been silent for longer than one that works on a single call may be."""
    silence = anyio.current_time() - instance.last_answer
    return instance.unanswered >= UNANSWERED and silence >= longest
