"""What event listeners are still to be told when the whole fleet goes down.

They stop after all others; but an event reaches them by way of `@listeners`, which may be late on a busy
host. So they are kept until `@listeners` has said that they were told of all that happened before, or for
`PATIENCE`: a listener that does not answer holds nothing up for longer.
"""

import math

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.model.supervisord import LAST_WORDS, LISTENERS, TOLD
from orchestra_supervisor.rules.listening import stop_after

__all__ = ["PATIENCE", "LastWords"]

PATIENCE = 2.0
"""Seconds that listeners are kept once all others are down."""


class LastWords:
    """Keeps the listeners of a fleet that goes down.

    Args:
        core: Has the services.
        bus: Where it is asked whether all was told.
        clock: Time.
    """

    def __init__(self, core: Core, bus: EventBus, clock: Clock) -> None:
        self._core = core
        self._bus = bus
        self._clock = clock
        self._others: list[str] = []
        """Those of whose ends listeners are to hear, without some that are down."""
        self._is_over = True
        self._asked: int | None = None
        """Number of the event that asks."""
        self._until = math.inf

    def begin(self) -> dict[str, tuple[str, ...]]:
        """The fleet goes down: return whom services wait for besides their dependents."""
        waits = stop_after(self._core.services)
        if LISTENERS not in waits:
            return waits
        listeners = waits[LISTENERS]
        self._others = sorted({name for one in listeners for name in waits[one]})
        self._is_over = False
        self._core.hold(TOLD)
        return waits | {name: (*waits[name], TOLD) for name in listeners}

    def watch(self) -> None:
        """Look whether they may go by now; called after every change while the fleet goes down."""
        if self._is_over:
            return
        now = self._clock.mono()
        while self._others and not self._is_up(self._others[-1]):
            self._others.pop()
        if self._others:
            return
        if self._asked is None:
            self._asked = self._bus.publish(LAST_WORDS, "all others are down; listeners are told of it").seq
            self._until = now + PATIENCE
        if now >= self._until or not self._is_up(LISTENERS):
            self._let_go()
        else:
            self._core.wake_at(self._until)

    def told(self, seq: int) -> None:
        """Listeners were told of everything up to the event of this number."""
        if self._asked is not None and seq >= self._asked:
            self._let_go()

    def _let_go(self) -> None:
        self._is_over = True
        self._core.let_go(TOLD)

    def _is_up(self, name: str) -> bool:
        service = self._core.services.get(name)
        return service is not None and service.run is not None
