"""`orchestra mcp`: what a client starts for a session; pumps lines to the gateway and outlives its restarts.

Standard library only, and little of that: it is there within 50 ms, and stays at about 10 MB. The keeper
holds the gateway's listening socket, so a connection mostly succeeds at once even while no gateway runs: the
next one finds us waiting there.
"""

import os
import signal
import sys
import time

from orchestra_supervisor.cli.shim.messages import encode
from orchestra_supervisor.cli.shim.pump import ClientSide, Signals, Watch
from orchestra_supervisor.cli.shim.relay import Relay
from orchestra_supervisor.cli.shim.way import Way

__all__ = ["STAND_IN_AFTER", "Shim", "main", "understood"]

STAND_IN_AFTER = 20.0
"""Seconds that `initialize` waits; Claude Code gives a server up after 30."""

_USAGE = "usage: [--home DIR] [--gateway [--profile P] | --server NAME] [--start [-c FILE] ...]"
_DRAIN_FOR = 60.0  # seconds that answers are waited for when the client says no more
_QUEUE_LIMIT = 1_000  # lines that wait to go out before the client is read no further
_HOLD_FOR = 0.5  # seconds in which a gateway that says farewell is gone
_FLUSH_FOR = 0.5  # seconds for the rest of a line when we are told to end


class Shim:
    """One client's way to the gateway.

    Args:
        home: The state directory, absolute.
        hello: What is wanted: `endpoint`, and `profile` or `server` with it.
        start: Options of `orchestra up` for a fleet that is to be started where there is none, or None.
    """

    def __init__(self, home: str, hello: dict[str, object], start: list[str] | None) -> None:
        line = encode({"orchestra": 1, **hello})
        self._relay = Relay(line, is_control=hello["endpoint"] == "control")
        self._client = ClientSide(self._relay)
        self._way = Way(home, self._relay, start, time.monotonic())
        self._watch = Watch()
        self._drained_at: float | None = None
        self._held_since: float | None = None

    def run(self) -> int:
        """Pump until the client says no more or is gone, or a signal comes.

        Returns:
            The exit status.
        """
        self._signals = Signals()
        while not self._signals.stopped_by and not self._client.is_gone:
            now = time.monotonic()
            self._way.look(now)
            timers = [self._way.seconds_left(now), self._stand_in(now), self._hold_answers(now)]
            if self._client.is_ended and self._is_drained(now, timers):
                break
            self._turn(min((one for one in timers if one is not None), default=None))
        self._client.finish_line(_FLUSH_FOR)
        if self._way.gateway is not None:
            self._way.gateway.close()
        return 128 + signal.SIGINT if self._signals.stopped_by == signal.SIGINT else 0

    def _turn(self, seconds: float | None) -> None:
        """Wait for something to happen, and do what it asks for."""
        watch, gateway, starting = self._watch, self._way.gateway, self._way.starting
        self._client.watch(watch, is_read=self._relay.queued < _QUEUE_LIMIT)
        watch.set(self._signals.descriptor, Watch.READ)
        if gateway is not None:
            gateway.watch(watch, is_read=not self._client.is_behind())
        if starting is not None:
            watch.set(starting.descriptor, Watch.READ)
        events = watch.wait(seconds)
        if self._signals.descriptor in events:
            self._signals.read()
        if starting is not None:
            if starting.descriptor in events:
                starting.read()
            watch.set(starting.descriptor, None)  # it may be closed before the next turn
        if gateway is not None:
            gateway.handle(events.get(gateway.descriptor, 0))
            if gateway.is_lost:
                watch.set(gateway.descriptor, None)
        self._client.handle(events.get(0, 0), events.get(1, 0))

    def _is_drained(self, now: float, timers: list[float | None]) -> bool:
        """Tell whether all is said after the client's last word; a stream that is open does not count."""
        if self._drained_at is None:
            self._drained_at = now + _DRAIN_FOR
        timers.append(self._drained_at - now)
        is_answered = not self._relay.is_waiting() and not self._relay.queued
        return now >= self._drained_at or (is_answered and self._client.is_told())

    def _stand_in(self, now: float) -> float | None:
        since = self._relay.oldest_handshake()
        if since is None:
            return None
        if now >= since + STAND_IN_AFTER:
            self._relay.stand_in(self._way.absence)
            return None
        return since + STAND_IN_AFTER - now

    def _hold_answers(self, now: float) -> float | None:
        if not self._relay.holds_answers():
            self._held_since = None
            return None
        if self._held_since is None:
            self._held_since = now
        left = self._held_since + _HOLD_FOR - now
        if left > 0:
            return left
        self._relay.release()
        return None


def understood(words: list[str]) -> Shim | None:
    """Return the pump that a command line asks for, or None: it is wrong, or asks for something else.

    Args:
        words: Options, as `orchestra mcp` takes them.
    """
    home, files = "", list[str]()
    hello: dict[str, object] = {"endpoint": "control", "profile": None, "server": None}
    may_start = os.environ.get("ORCHESTRA_MCP_START") == "1"
    rest = list(words)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word == "--gateway" and not equals:
            hello["endpoint"] = "gateway"
        elif word == "--start" and not equals:
            may_start = True
        elif word in {"--home", "--profile", "--server", "-c", "--config"} and (equals or rest):
            value = value if equals else rest.pop(0)
            if word == "--home":
                home = value
            elif word in {"-c", "--config"}:
                files += ["-c", os.path.abspath(value)]
            else:
                hello[word[2:]] = value
        else:
            return None
    if hello["server"] is not None:
        if hello["endpoint"] == "gateway" or hello["profile"] is not None:
            return None
        hello["endpoint"] = "server"
    elif hello["profile"] is not None:
        hello["endpoint"] = "gateway"
    return Shim(_home_of(home), hello, files if may_start else None)


def main(words: list[str]) -> int:
    """Run the pump; return the exit status."""
    shim = understood(words)
    if shim is None:
        sys.stderr.write(f"orchestra mcp: {' '.join(words)!r} is not understood\n  {_USAGE}\n")
        return 2
    return shim.run()


def _home_of(option: str) -> str:
    if os.path.isabs(option):
        return os.path.normpath(option)
    from orchestra_supervisor.control_home import find_home  # what clients are given is absolute

    return find_home(os.getcwd(), os.environ, option or None)
