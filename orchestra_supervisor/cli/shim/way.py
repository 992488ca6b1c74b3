"""The way to the gateway: connecting, waiting for one that is on its way, starting a fleet if need be.

A keeper that holds the home brings its gateway back, so then we wait. Where nobody holds it, there is nothing
to wait for, and who asks is told at once what to do; but each new question is a reason to look again.
"""

import os

from orchestra_supervisor.cli.shim.absence import Absence
from orchestra_supervisor.cli.shim.pump import GatewaySide, say
from orchestra_supervisor.cli.shim.relay import Relay
from orchestra_supervisor.cli.shim.starting import Starting
from orchestra_supervisor.unix_http import connect

__all__ = ["RECONNECT_FOR", "Way"]

RECONNECT_FOR = 60.0
"""Seconds that requests wait for a gateway while a keeper holds the home."""

_SOCKET = "mcp.sock"
_POINTER = "mcp.path"  # says where the socket is instead, on a home whose path is too long for one
_CONNECT_LIMIT = 2.0  # seconds for connect(2), which on a Unix socket does not wait
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds between attempts, doubling
_START_AGAIN_AFTER = 30.0  # seconds after which a fleet that did not start is started once more
_STARTED_BY_ANOTHER = 8  # exit status of `orchestra up` on a home that has a keeper, as in docs/errors.md
_NOT_THERE = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


class Way:
    """Whether and how the gateway is reached.

    Args:
        home: The state directory, absolute.
        relay: Told of every connection, and of having none.
        start: Options of `orchestra up` for a fleet that is to be started where there is none, or None.
        now: The time (monotonic).
    """

    def __init__(self, home: str, relay: Relay, start: list[str] | None, now: float) -> None:
        self.gateway: GatewaySide | None = None
        self.starting: Starting | None = None
        self.absence = Absence("", "", is_passing=True)
        """Why there is no answer, as far as is known."""
        self._home = home
        self._relay = relay
        self._start = start
        self._started_at: float | None = None
        self._start_failure: Absence | None = None
        self._was_there = False
        self._tried_at = now - _LONGEST_PAUSE
        self._retry_at = now
        self._failures = 0
        self._without_since = now
        self._is_nobody_there = False

    def seconds_left(self, now: float) -> float | None:
        """Return in how many seconds `look` has something to do, or None: when something has come."""
        return None if self.gateway is not None else max(0.0, self._due() - now)

    def look(self, now: float) -> None:
        """Connect where that is due; drop a connection that is lost."""
        if self.starting is not None and (status := self.starting.ended()) is not None:
            self._start_ended(self.starting, status, now)
        gateway = self.gateway
        if gateway is not None:
            if self._relay.is_alive:
                self._failures, self._without_since = 0, now
            if gateway.is_lost:
                self._lose(gateway, now)
        if self.gateway is None and now >= self._due():
            self._connect(now)

    def _due(self) -> float:
        if self._is_nobody_there and self._relay.is_waiting():
            return self._tried_at + _FIRST_PAUSE
        return self._retry_at

    def _connect(self, now: float) -> None:
        self._tried_at = now
        try:
            connection = connect(self._socket(), _CONNECT_LIMIT)
        except _NOT_THERE:
            self._nothing_there(now)
        except (BlockingIOError, TimeoutError):  # its backlog is full
            self._wait_for_it(now, f"the gateway on {self._home} does not take connections")
        except OSError as error:
            self._tell_nobody(
                now,
                Absence(
                    f"the gateway on {self._home} may not be used by uid {os.getuid()}: {error.strerror}",
                    "run as the owner of the fleet, or name another --home",
                    is_passing=False,
                ),
            )
        else:
            self._is_nobody_there = False
            self._was_there = True
            self.gateway = GatewaySide(connection, self._relay)
            self.absence = Absence(
                f"the gateway on {self._home} does not answer",
                "`orchestra status @gateway` and `orchestra logs @gateway` tell more",
                is_passing=True,
            )
            self._relay.connected()

    def _socket(self) -> str:
        if not os.path.exists(os.path.join(self._home, _POINTER)):
            return os.path.join(self._home, _SOCKET)
        from orchestra_supervisor.control_home import socket_path  # for hardly any home

        return socket_path(self._home, "mcp")

    def _nothing_there(self, now: float) -> None:
        from orchestra_supervisor.cli.holder import keeper_pid_of  # not needed where a gateway is there

        keeper = keeper_pid_of(self._home)
        if keeper is not None:
            self._was_there = True
            self._wait_for_it(
                now, f"the fleet on {self._home} runs (keeper {keeper}), and its gateway does not"
            )
        elif self.starting is not None:
            self.absence = Absence(
                f"the fleet on {self._home} is being started", "ask again", is_passing=True
            )
            self._pause(now)
        elif self._start is not None and self._may_start(now):
            self._begin_start(self._start, now)
        elif self._is_nobody_there and not self._relay.is_waiting():
            self._retry_at = now + _LONGEST_PAUSE
        else:
            hint = f"`orchestra up --home {self._home}` in the directory of its files starts it"
            none = Absence(f"no fleet runs on {self._home}", hint, is_passing=True)
            self._tell_nobody(now, self._start_failure or none)

    def _may_start(self, now: float) -> bool:
        """Tell whether a fleet is ours to start: never one that was there and was taken down."""
        if self._was_there:
            return False
        return self._started_at is None or (
            self._relay.is_waiting() and now - self._started_at >= _START_AGAIN_AFTER
        )

    def _wait_for_it(self, now: float, message: str) -> None:
        hint = "`orchestra status` and `orchestra events` tell more"
        self.absence = Absence(message, hint, is_passing=True)
        self._pause(now)
        if now - self._without_since >= RECONNECT_FOR:
            self._tell_nobody(now, self.absence)

    def _tell_nobody(self, now: float, absence: Absence) -> None:
        if not self._is_nobody_there:
            say(absence.text)
        self.absence = absence
        self._is_nobody_there = True
        self._retry_at = now + _LONGEST_PAUSE
        self._relay.nobody_comes(absence)

    def _lose(self, gateway: GatewaySide, now: float) -> None:
        gateway.close()
        self.gateway = None
        refusal = self._relay.lost()
        if refusal is not None:
            self._tell_nobody(now, refusal)
        elif now - self._without_since >= RECONNECT_FOR:
            self._tell_nobody(now, self.absence)
        elif self._relay.is_alive:
            say("the gateway went away; connecting again")
            self._retry_at = now
        else:
            self._pause(now)

    def _pause(self, now: float) -> None:
        # Spread, so that twenty clients of one gateway do not come back in one instant.
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures) * (1 + os.getpid() % 16 / 32)
        self._failures = min(self._failures + 1, 10)
        self._retry_at = now + pause

    def _begin_start(self, words: list[str], now: float) -> None:
        say(f"no fleet runs on {self._home}: starting it")
        self._started_at = now
        directory = (
            os.path.dirname(self._home) if os.path.basename(self._home) == ".orchestra" else os.getcwd()
        )
        try:
            self.starting = Starting(["--home", self._home, *words], directory)
        except OSError as error:
            self._tell_nobody(
                now,
                Absence(f"`orchestra up` cannot be run: {error}", "start the fleet by hand", is_passing=True),
            )
            return
        self._pause(now)

    def _start_ended(self, starting: Starting, status: int, now: float) -> None:
        self.starting = None
        self._retry_at = now
        self._start_failure = None
        if status not in {0, _STARTED_BY_ANOTHER}:
            self._start_failure = Absence(
                f"the fleet on {self._home} did not start (exit status {status}): {starting.reason()}",
                "`orchestra check` and `orchestra up` in the directory of its files show more",
                is_passing=True,
            )
