"""Going down: by the daemon while there is one, by the keeper alone when there is not."""

import signal
from collections.abc import Callable

from orchestra_supervisor.keeper.loop import Loop, Timer, say
from orchestra_supervisor.keeper.request import Plan
from orchestra_supervisor.keeper.roles import Role
from orchestra_supervisor.keeper.runs import RunTable
from orchestra_supervisor.keeper.stop import Stopper
from orchestra_supervisor.wire.frames import Message

__all__ = ["Shutdown"]

_DAEMON_SILENCE = 5.0  # seconds in which a daemon must show that it heard
_HURRY_WAIT = 1.0  # seconds before SIGKILL once somebody is in a hurry
_LOGGER_WAIT = 10.0  # seconds for the logger to write what is left
_DAEMON_WAIT = 5.0  # seconds for the daemon to end by itself once its connection is closed
_USELESS_DAEMON_WAIT = 1.0  # the same for one that did not bring the fleet down
_LAST_WORD = Plan(((signal.SIGTERM, _HURRY_WAIT),), leader_only=False)  # for what follows a run's end
_DAEMON_ENDS = 3  # daemons that may end on the way down before the keeper goes on alone


class Shutdown:
    """The end of a fleet, step by step.

    Args:
        loop: The keeper's loop, stopped at the end.
        table: All runs.
        stopper: Carries out plans.
        daemon: Told first, and given time.
        logger: Told last.
        tell: Sends an event to the daemon, if it has been greeted.
        hand_over: Lets the logger have the pipes that it does not have yet.
    """

    def __init__(
        self,
        loop: Loop,
        table: RunTable,
        stopper: Stopper,
        daemon: Role,
        logger: Role,
        tell: Callable[[Message], None],
        hand_over: Callable[[], None],
    ) -> None:
        self._tell = tell
        self._hand_over = hand_over
        self._loop = loop
        self._table = table
        self._stopper = stopper
        self._daemon = daemon
        self._logger = logger
        self._watch: Timer | None = None
        self._requests = 0
        self._daemon_ends = 0
        self._daemon_wait = _DAEMON_WAIT
        self._after_runs: Callable[[], None] | None = None
        self._next: Callable[[], None] | None = None
        self._is_closing = False
        self.is_going = False
        self.left_behind = 0

    @property
    def is_hurried(self) -> bool:
        """True from the second request on."""
        return self._requests > 1

    def request(self) -> None:
        """SIGTERM, SIGINT or SIGQUIT came: the second one hurries."""
        self._requests += 1
        self.is_going = True
        self._tell({"type": "shutdown", "hurry": self.is_hurried})
        if self.is_hurried:
            self._take_over("in a hurry")
        elif self._daemon.is_broken:
            self._take_over("there is no daemon")
        else:
            self._daemon.start()
            self._expect_word()

    def mark(self) -> None:
        """The daemon itself brings the fleet down; a daemon after it shall know."""
        self.is_going = True

    def daemon_spoke(self) -> None:
        """The daemon said something: it has its hands on the fleet."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def daemon_ended(self) -> None:
        """The daemon ended while the fleet goes down: give the next one as long."""
        if self._is_closing:
            self._loop.stop()
        elif self.is_going and self._after_runs is None and self._next is None:
            self._daemon_ends += 1
            if self._daemon.is_broken or self._daemon_ends >= _DAEMON_ENDS:
                self._take_over("the daemon cannot be started")
            elif self._watch is None:
                self._expect_word()

    def quit(self) -> None:
        """The daemon says that the fleet is down: stop what is not, then end."""
        self.is_going = True
        self._take_over("")

    def changed(self) -> None:
        """A run is gone, or SIGKILL does not end it: perhaps the next step is due."""
        if self._after_runs is not None:
            self._loop.guarded(self._after_runs)

    def logger_ended(self) -> None:
        """The logger ended: the next step is due when it was told to."""
        if self._next is not None:
            step, self._next = self._next, None
            step()

    def _expect_word(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_later(
            _DAEMON_SILENCE * self._loop.patience, lambda: self._take_over("the daemon does not answer")
        )

    def _take_over(self, why: str) -> None:
        self.daemon_spoke()
        if self._next is not None or self._is_closing:
            return  # past the runs already
        if why and self._after_runs is None:
            say(f"{why}; the keeper stops {len(self._table.present())} runs itself")
        self._daemon.retire()
        self._daemon_wait = _USELESS_DAEMON_WAIT if why else _DAEMON_WAIT
        self._after_runs = self._next_wave
        self._next_wave()

    def _next_wave(self) -> None:
        present = [run for run in self._table.present() if not (run.killing and run.killing.is_stuck)]
        if not present:
            self._after_runs = None
            self._end_logger()
            return
        if self.is_hurried:
            wave = present
        else:
            highest = max(run.stop_order for run in present)
            wave = [run for run in present if run.stop_order == highest]
        for run in wave:
            if run.killing is None and (self.is_hurried or not run.is_over):
                self._stopper.begin(run, _LAST_WORD if run.is_over else run.plan)
            if self.is_hurried:
                self._stopper.hurry(run, _HURRY_WAIT)

    def _end_logger(self) -> None:
        left = self._table.present()
        self.left_behind = len(left)
        if left:
            names = ", ".join(f"{run.slot} ({run.pid})" for run in left)
            say(f"SIGKILL did not end {names}; left behind")
        timer = self._loop.call_later(_LOGGER_WAIT * self._loop.patience, self.logger_ended)
        self._next = lambda: (timer.cancel(), self._end_daemon())[1]
        self._logger.retire()
        self._logger.start()
        self._hand_over()
        if not self._logger.send({"type": "quit"}):
            self.logger_ended()

    def _end_daemon(self) -> None:
        self._is_closing = True
        self._daemon.disconnect()
        if self._daemon.pid is None:
            self._loop.stop()
            return
        self._loop.call_later(self._daemon_wait * self._loop.patience, self._loop.stop)
