"""A process of our own, the daemon or the logger: started, listened to, replaced when it fails."""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestra_supervisor.keeper.loop import Loop, Timer, say
from orchestra_supervisor.keeper.reaper import open_pidfd
from orchestra_supervisor.keeper.spawn import Surroundings, close_all, spawn_role
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message, WireError

__all__ = ["Role", "RoleHooks"]

_FIRST_PAUSE = 0.1  # seconds before the second restart in a row; the first happens at once; doubles
_LONGEST_PAUSE = 5.0
_BROKEN_PAUSE = 30.0
_BROKEN_AFTER = 5  # failed starts in a row
_GOOD_LIFE = 10.0  # seconds of life after which the past is forgotten
_POLL = 0.1  # seconds between looks at a process for which no pidfd was to be had


@dataclass(frozen=True, slots=True)
class RoleHooks:
    """What the owner of a role wants to hear.

    Attributes:
        on_start: It was forked; its connection is open.
        on_message: It said something.
        on_end: It has ended and its connection is closed. The argument says how, for people.
    """

    on_start: Callable[[], None]
    on_message: Callable[[Message], None]
    on_end: Callable[[str], None]


class Role:
    """One of our processes.

    Args:
        loop: The keeper's loop.
        name: `daemon` or `logger`.
        argv: Command line.
        around: The keeper's surroundings.
        dies_with_us: The kernel ends it when the keeper ends.
        hooks: Whom to tell.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        argv: list[str],
        around: Surroundings,
        *,
        dies_with_us: bool,
        hooks: RoleHooks,
    ) -> None:
        self._loop = loop
        self._name = name
        self._argv = argv
        self._around = around
        self._dies_with_us = dies_with_us
        self._hooks = hooks
        self._channel: Channel | None = None
        self._pidfd: int | None = None
        self._timer: Timer | None = None
        self._started_mono = 0.0
        self._quick_ends = 0
        self._silent_ends = 0
        self._is_mute = False
        self._at_once = False
        self.is_wanted = True
        self.pid: int | None = None
        self.last_pid: int | None = None
        self.starts = 0
        loop.at_turn_close(self._close_turn)

    @property
    def is_broken(self) -> bool:
        """True after so many starts in a row without a word that starting is tried only now and then."""
        return self._silent_ends >= _BROKEN_AFTER

    @property
    def is_connected(self) -> bool:
        """True while messages can be sent."""
        return self._channel is not None and not self._is_mute

    def start(self) -> None:
        """Start the process now, unless it runs."""
        if self.pid is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._started_mono = time.monotonic()
        self._is_mute = False
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._ended(f"no socket: {error.strerror}")
            return
        with theirs:
            try:
                self.pid = spawn_role(
                    self._argv, theirs.fileno(), self._around, dies_with_us=self._dies_with_us
                )
            except OSError as error:
                ours.close()
                self._ended(f"fork: {error.strerror}")
                return
        self.starts += 1
        self.last_pid = self.pid
        self._channel = Channel(ours)
        self._loop.watch(ours.fileno(), self._on_events)
        self._pidfd = open_pidfd(self.pid)
        if self._pidfd is not None:
            self._loop.watch(self._pidfd, lambda _events: self._reap())
        else:
            self._loop.call_later(_POLL, self._reap)
        self._hooks.on_start()

    def mark_good(self) -> None:
        """Forget earlier failures to start: this one works."""
        self._silent_ends = 0

    def retire(self) -> None:
        """Do not replace it when it ends."""
        self.is_wanted = False
        if self._timer is not None:
            self._timer.cancel()

    def replace_at_once(self) -> None:
        """Have its next end followed by a start without a pause; when it does not run, start it now."""
        self._quick_ends = self._silent_ends = 0
        if self.pid is None:
            self.start()
        else:
            self._at_once = True

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the process; it is our child, so the number is certainly its own."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def disconnect(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._loop.unwatch(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def send(self, message: Message, fds: list[int] | None = None) -> bool:
        """Send a message. Returns False when it cannot be delivered; then the process may be dead."""
        if self._channel is None or self._is_mute:
            return False
        try:
            # What a turn has to say to the daemon is said at its end: who is woken by the first word takes a
            # processor, and what matters more (the fork of a run that follows) has to be done first.
            self._channel.send(message, fds or (), later=self._dies_with_us)
        except (WireError, OSError) as error:
            say(f"a message for the {self._name} was not sent: {error}")
            return False
        except ChannelClosed as error:
            self._give_up(str(error))
            return False
        return True

    def _on_events(self, events: int) -> None:
        if self._channel is None:
            return
        if events & selectors.EVENT_WRITE:
            try:
                self._channel.on_writable()
            except ChannelClosed as error:
                self._give_up(str(error))
        if events & selectors.EVENT_READ:
            try:
                self._receive()
            except ChannelClosed as error:
                self._give_up(str(error))
                self.disconnect()

    def _receive(self) -> int:
        messages = self._channel.on_readable() if self._channel is not None else []
        for message, fds in messages:
            close_all(fds)  # nobody has descriptors for the keeper
            self._loop.guarded(self._hooks.on_message, message)
        return len(messages)

    def _give_up(self, reason: str) -> None:
        """Replace a peer that cannot be talked to: it is our child, and a new one is better."""
        if self.is_wanted and not self._is_mute:
            say(f"{self._name} {self.pid}: {reason}; it is replaced")
            self.kill()
        self._is_mute = True

    def _reap(self) -> None:
        if self.pid is None:
            return
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            if self._pidfd is None:
                self._loop.call_later(_POLL, self._reap)
            return
        if self._pidfd is not None:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self.pid = None
        self._is_mute = True
        self._drain()
        code = os.waitstatus_to_exitcode(status)
        self._ended(f"exit code {code}" if code >= 0 else f"killed by signal {-code}")

    def _drain(self) -> None:
        """Carry out what the process had said completely before it ended."""
        try:
            while self._receive():
                pass
        except ChannelClosed:
            pass
        self.disconnect()

    def _ended(self, how: str) -> None:
        at_once, self._at_once = self._at_once, False
        lived_well = time.monotonic() - self._started_mono >= _GOOD_LIFE
        self._quick_ends = 0 if at_once else 1 if lived_well else self._quick_ends + 1
        self._silent_ends = 0 if at_once or lived_well else self._silent_ends + 1
        if self._silent_ends == _BROKEN_AFTER and self.is_wanted:
            say(f"the {self._name} failed {_BROKEN_AFTER} times in a row ({how}); {self._outlook()}")
        self._hooks.on_end(how)
        if self.is_wanted:
            self._timer = self._loop.call_later(self._pause(), self.start)

    def _pause(self) -> float:
        if self._quick_ends <= 1:
            return 0.0
        if self.is_broken and self._dies_with_us:
            return _BROKEN_PAUSE
        return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._quick_ends - 2, 10))

    def _outlook(self) -> str:
        if self._dies_with_us:
            return "services run on; SIGHUP or SIGUSR2 tries again at once, SIGTERM stops the fleet"
        return "services run on, and their output waits; it is tried again and again"

    def _close_turn(self) -> None:
        if self._channel is None:
            return
        if self._channel.has_later and not self._is_mute:
            try:
                self._channel.on_writable()
            except ChannelClosed as error:
                self._give_up(str(error))
        self._loop.want_write(self._channel.fileno(), wanted=self._channel.wants_write)
