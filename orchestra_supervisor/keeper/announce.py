"""What the service manager is told of the fleet, and whether the daemon is alive enough to tell it.

The daemon says how the fleet stands (`status`); the keeper passes it on. The manager's watchdog watches
the keeper: a beat goes out while its loop turns. The daemon is watched by the keeper itself, by `ping`,
as a manager that restarts us for a hung daemon would take down every service with it
(docs/adr/0013-the-watchdog-watches-the-keeper.md). Without a manager nothing here ever wakes up.
"""

import os
import time

from orchestra_supervisor.keeper.fields import BadMessage, take_text
from orchestra_supervisor.keeper.loop import Loop, Timer, say
from orchestra_supervisor.keeper.notify_out import ServiceManager
from orchestra_supervisor.keeper.roles import Role
from orchestra_supervisor.keeper.runs import RunTable
from orchestra_supervisor.keeper.shutdown import Shutdown
from orchestra_supervisor.wire.frames import Message

__all__ = ["Announcer"]

_STATES = ("starting", "ready", "reloading", "stopping")
_BEAT = 10.0  # seconds between beats while the fleet starts, reloads or stops
_SHORTEST = 0.01  # seconds between beats, whatever the manager wants
_EXTENSION = 3  # beats for which the manager is asked for patience
_ANSWER_WAIT = 10.0  # seconds that a daemon has to answer a ping
_FIRST_WORD_WAIT = 60.0  # seconds that a daemon which takes a fleet over has to say how it stands


class Announcer:
    """Tells the service manager, and replaces a daemon that is silent.

    Args:
        loop: The keeper's loop.
        manager: Whom to tell.
        daemon: Whom to listen to.
        shutdown: Asked whether the fleet goes down.
        table: Asked whether anything is held: then a fleet is taken over, else it starts.
    """

    def __init__(
        self, loop: Loop, manager: ServiceManager, daemon: Role, shutdown: Shutdown, table: RunTable
    ) -> None:
        self._loop = loop
        self._manager = manager
        self._daemon = daemon
        self._shutdown = shutdown
        self._table = table
        self._state = "starting"
        self._text = ""
        self._has_spoken = False
        self._pings = 0
        self._beat_timer: Timer | None = None
        self._silence: Timer | None = None

    @property
    def is_heard(self) -> bool:
        """True when there is a service manager: the daemon shall say how the fleet stands."""
        return self._manager.is_there

    def start(self) -> None:
        """Begin, where there is a manager."""
        if self.is_heard:
            self._loop.at_turn_end(self._look_whether_going)
            self._tell_text("the daemon is started")
            self._beat()

    def daemon_started(self) -> None:
        """A daemon was forked: one that takes a fleet over has so long to say how it stands."""
        self._has_spoken = False
        self._stop_waiting()
        if self.is_heard and self._table.has_notes:
            self._expect_word(_FIRST_WORD_WAIT, "does not take the fleet over")

    def daemon_says(self, message: Message) -> None:
        """Pass on how the fleet stands.

        Raises:
            BadMessage: The state is not one that there is.
        """
        state, text = take_text(message, "state"), message.get("text")
        if state not in _STATES or not isinstance(text, str):
            raise BadMessage(f"status is {state[:80]!r} and text, not one of {', '.join(_STATES)} and text")
        self._stop_waiting()
        self._has_spoken = True
        self._tell(state, text)

    def daemon_spoke(self) -> None:
        """The daemon said something. Until it says how the fleet stands it is not known to listen."""
        if self._has_spoken:
            self._stop_waiting()

    def daemon_ended(self, how: str) -> None:
        """The daemon ended; the services run on, and the next one says how they stand."""
        self._has_spoken = False
        self._stop_waiting()
        if self._daemon.is_wanted:
            self._tell_text(f"the daemon ended ({how}) and is started again; services run on")

    def ended(self, status: int) -> None:
        """The keeper is about to end."""
        if status:
            self._manager.tell(STATUS=f"{self._text or 'ended'} (exit status {status})", EXIT_STATUS=status)
        self._manager.close()

    def _tell(self, state: str, text: str) -> None:
        state = "stopping" if self._state == "stopping" else state  # there is no way back from there
        if state == self._state or not self.is_heard:
            self._tell_text(text)
            return
        self._state, self._text = state, text
        match state:
            case "ready":
                self._manager.tell(READY=1, STATUS=text, MAINPID=os.getpid())
            case "reloading":
                now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                self._manager.tell(RELOADING=1, MONOTONIC_USEC=now, STATUS=text)
            case "stopping":
                self._manager.tell(STOPPING=1, STATUS=text)
            case _:
                self._manager.tell(STATUS=text)
        self._rearm()

    def _tell_text(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self._manager.tell(STATUS=text)

    def _look_whether_going(self) -> None:
        if self._shutdown.is_going and self._state != "stopping":
            self._tell("stopping", "the fleet goes down")

    # Signs of life.

    @property
    def _is_extending(self) -> bool:
        """True while the manager must not lose patience, as somebody is known to work on the fleet."""
        return self._state == "stopping" or (self._has_spoken and self._state != "ready")

    def _beat(self) -> None:
        self._beat_timer = None
        watchdog = self._manager.watchdog
        periods = [max(_SHORTEST, watchdog / 2)] if watchdog is not None else []
        if self._state != "ready":
            periods.append(_BEAT * self._loop.patience)
        if not periods:
            return
        if watchdog is not None:
            self._manager.beat(WATCHDOG=1)
        if self._is_extending:
            extension = _EXTENSION * _BEAT * self._loop.patience
            self._manager.beat(EXTEND_TIMEOUT_USEC=int(extension * 1e6))
        self._ping()
        self._beat_timer = self._loop.call_later(min(periods), self._beat)

    def _rearm(self) -> None:
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._beat()

    def _ping(self) -> None:
        if self._has_spoken and self._silence is None and self._daemon.is_wanted:
            self._pings += 1
            if self._daemon.send({"type": "ping", "id": self._pings}):
                self._expect_word(_ANSWER_WAIT, "does not answer")

    def _expect_word(self, wait: float, fault: str) -> None:
        self._silence = self._loop.call_later(wait * self._loop.patience, lambda: self._replace(fault))

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _replace(self, fault: str) -> None:
        self._silence = None
        if self._daemon.pid is not None and self._daemon.is_wanted:
            say(f"daemon {self._daemon.pid} {fault}; it is replaced")
            self._daemon.kill()
