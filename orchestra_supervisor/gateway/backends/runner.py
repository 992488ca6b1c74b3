"""Starts and stops the services behind instances, one step at a time for each, so that no two steps cross.

A call that finds its server stopped starts it, and waits. One that comes while it is being stopped for
want of calls waits for the end of that, and starts it again. One whose server has just ended waits a
little: the daemon brings it back.
"""

import anyio

from orchestra_supervisor.gateway.backends.callbacks import Callbacks, NotDone
from orchestra_supervisor.gateway.backends.health import is_crash_loop
from orchestra_supervisor.gateway.backends.instance import Instance
from orchestra_supervisor.gateway.backends.introduction import Introduction
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble

__all__ = ["Runner"]

_RESTART_WAIT = 10.0  # seconds that a call waits for a server to come back
_LOOP_WAIT = 1.0  # likewise where it has ended often in a row
_RESTART_GRACE = 3.0  # seconds that the daemon is given to bring a server back before it is asked to start it
_START_WAIT = 60.0  # seconds that a call waits for a server that was started for it
_TRY_AGAIN = 0.1  # seconds between attempts to connect while a call waits for it
_CALLS_WAIT = 5.0  # seconds in which the calls of an owner who is gone are over
_GONE_WAIT = 5.0  # seconds in which the keeper says that a stopped service is gone

_HOPELESS = {Trouble.AUTH, Trouble.NOT_MCP}
"""Waiting does not help against these."""


class Runner:
    """See the module.

    Args:
        callbacks: To the daemon.
        is_lazy: Of the backend: its service is started by who needs it.
    """

    def __init__(self, callbacks: Callbacks, *, is_lazy: bool) -> None:
        self._callbacks = callbacks
        self._is_lazy = is_lazy

    async def ready(self, instance: Instance, service: str) -> Introduction:
        """Return when an instance can be called. The caller has counted itself as in flight.

        Args:
            instance: To be called.
            service: Behind it; empty: it is not ours to start.

        Raises:
            LinkError: It cannot be called now; says why, and that nothing was sent.
        """
        if instance.is_ready and instance.introduction is not None and not instance.lock.locked():
            return instance.introduction
        wait, crashes = _RESTART_WAIT, instance.crashes
        if (service and not instance.source.is_up) or instance.lock.locked():
            if await self._started(instance, service):
                wait = _START_WAIT
        elif instance.trouble is None:
            wait = _START_WAIT  # it is on its way
        elif instance.trouble.trouble in _HOPELESS:
            wait = _LOOP_WAIT
        instance.source.poke()
        with anyio.move_on_after(wait):
            while not instance.is_ready:
                await instance.wait_tried()
                is_hopeless = instance.trouble is not None and instance.trouble.trouble in _HOPELESS
                is_crashing = is_crash_loop(instance.crashes) and instance.crashes > crashes + 1
                if instance.is_ready or is_hopeless or is_crashing:
                    break
                await anyio.sleep(_TRY_AGAIN)
                instance.source.poke()
        if instance.is_ready and instance.introduction is not None:
            return instance.introduction
        trouble = instance.trouble
        if trouble is None:
            reason = f"it has not introduced itself within {wait:g} s"
            raise LinkError(Trouble.SILENT, reason, was_sent=False)
        raise LinkError(trouble.trouble, trouble.reason, was_sent=False)

    async def stop(self, instance: Instance, service: str) -> bool:
        """Stop a service that nobody uses; False where somebody came in between, or it did not come about."""
        async with instance.lock:
            if instance.in_flight or not instance.source.is_up:
                return False
            instance.is_expected_down = True
            try:
                await self._callbacks.stop(service)
            except NotDone:
                instance.is_expected_down = False
                return False
            await self.forget(instance)
            return True

    async def clear(self, instance: Instance, service: str) -> None:
        """Have nothing left of what an instance has done: its next call finds another process.

        Raises:
            LinkError: Calls of its last owner do not end, or it cannot be stopped.
        """
        with anyio.move_on_after(_CALLS_WAIT):
            while instance.in_flight:  # they are being cancelled  # noqa: ASYNC110 - each ends by itself
                await anyio.sleep(_TRY_AGAIN)
        if instance.lock.locked() or instance.source.is_up:
            await self.stop(instance, service)
        if instance.source.is_up:
            reason = "what its last user has left in it cannot be ended"
            raise LinkError(Trouble.BUSY, reason, was_sent=False)

    async def forget(self, instance: Instance) -> None:
        """Have an instance let go of a service that was stopped."""
        instance.is_expected_down = True
        with anyio.move_on_after(_GONE_WAIT):
            await instance.source.stopped()
        instance.report(LinkError(Trouble.LOST, "it was stopped"))

    async def start(self, instance: Instance, service: str) -> None:
        """Start a service on purpose.

        Raises:
            LinkError: It did not come about.
        """
        async with instance.lock:
            if instance.source.is_up:
                return
            try:
                await self._callbacks.start(service)
            except NotDone as error:
                reason = f"it does not run, and cannot be started: {error}"
                raise LinkError(Trouble.LOST, reason, was_sent=False) from error
            instance.source.started()

    async def _started(self, instance: Instance, service: str) -> bool:
        """See that a service runs that does not; True where it was started for this."""
        if not instance.is_expected_down and not instance.lock.locked():
            # It ended by itself: bringing it back is the daemon's, by its policy.
            with anyio.move_on_after(_RESTART_GRACE):
                while not instance.is_ready:
                    await instance.wait_tried()
            if instance.source.is_up or not self._is_lazy:
                return False
        await self.start(instance, service)
        return True
