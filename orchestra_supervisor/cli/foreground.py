"""`orchestra up` in the foreground: progress, then the table, then the logs, then an ordered stop.

Exit statuses: 0 after an ordered stop, whoever asked for it; 130 when it was hurried; 1 when
the keeper ended by itself.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.follow import FleetLogs, Layout, poll_interval
from orchestra_supervisor.cli.launch import LOG_NAME, Plan, spawn_keeper
from orchestra_supervisor.cli.live import starting_frame, stopping_frame
from orchestra_supervisor.cli.logview import LogPainter
from orchestra_supervisor.cli.render import event_line, summary_lines
from orchestra_supervisor.cli.screen import Screen
from orchestra_supervisor.cli.session import Session, SignalBox
from orchestra_supervisor.cli.shapes import EventView
from orchestra_supervisor.cli.stopping import StopOrder
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.control_client import ControlError
from orchestra_supervisor.model.errors import ERROR_KINDS

__all__ = ["FleetEnd", "exit_by_policy", "is_settled", "keeper_lost", "tail_of", "watch_foreground"]

HURRIED = 130
_FRAME = 0.1  # seconds between frames
_BEHIND = 0.2  # seconds by which events may come after the status that shows them
_TAIL = 5  # lines of supervisor.log that are shown when something of ours failed
_LINES_SHOWN = 60  # lines of all services from before the table that a terminal is given
_LINES_PLAIN = 1_000  # likewise, of each service, where the output goes to a file
_OFFER = "logs follow; Ctrl-C stops the fleet"
_IN_ORDER = ("stopping in order", "Ctrl-C again to hurry")
_QUIET = {"service.spawned", "service.running", "service.probe_failed", "control.result"}
"""Kinds that tell nothing to a person which the events around them do not."""


def watch_foreground(plan: Plan, lock_fd: int, timeout: float) -> int:
    """Start the keeper and stay with it until it has ended.

    Args:
        plan: What to start.
        lock_fd: The lock of the home; handed to the keeper.
        timeout: Seconds after which the start is no longer watched and logs are shown.

    Returns:
        The exit status.
    """
    began = time.time()
    with SignalBox() as box:
        keeper = spawn_keeper(plan, lock_fd)
        session = Session(plan.home, keeper, box, began)
        watch = _Foreground(session, Screen(Terminal(sys.stdout, os.environ)))
        try:
            return watch.run(timeout)
        finally:
            watch.screen.end_region()
            session.close()


def is_settled(session: Session) -> bool:
    """Return whether nothing will change any more unless somebody acts."""
    return (
        session.status is not None
        and session.status.daemon.phase not in {"stopping", "down"}
        and not session.status.unsettled()
    )


def tail_of(path: Path, lines: int) -> list[str]:
    """Return the last lines of a text file, safe to show; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8_192))
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return []
    return [make_visible(line) for line in text.splitlines()[-lines:]]


class FleetEnd:
    """How a fleet has ended by itself, as its settings want it.

    Args:
        status: The keeper's exit status, and ours.
        why: For people.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why


def exit_by_policy(keeper: subprocess.Popen[bytes], home: Path) -> FleetEnd | None:
    """Return how the fleet of a keeper that has ended wanted to end; None: it had no such will."""
    try:
        word = json.loads((home / "exit.json").read_text(encoding="utf-8"))
        if word["keeper"] == keeper.pid and word["status"] == keeper.returncode:
            return FleetEnd(int(word["status"]), make_visible(str(word["why"])))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def keeper_lost(keeper: subprocess.Popen[bytes], home: Path) -> ActionFailed | ControlError:
    """Return the error for a keeper that ended by itself, or because its daemon refused to start."""
    status = keeper.returncode
    code = next((code for code, kind in ERROR_KINDS.items() if kind.exit == status > 1), None)
    # With no room for a reason, that is the reason.
    full = ": No space left on device" if status > 0 and not _has_room(home) else ""
    if code is not None:
        hint = f"the reason is above, and in {home / LOG_NAME}"
        return ControlError(code, f"the fleet was not started{full}", hint)
    if status == ERROR_KINDS["failed"].exit:
        hint = (
            f"the reason is above, and in {home / LOG_NAME}; what is left of it, the next `orchestra up` ends"
        )
        return ControlError("failed", f"the fleet could not start, and has gone down{full}", hint)
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
    return ActionFailed(
        f"the keeper (pid {keeper.pid}) ended unexpectedly: {how}",
        hint=f"services may still run; the next `orchestra up` deals with them. See {home / LOG_NAME}",
    )


def _has_room(home: Path) -> bool:
    try:
        return os.statvfs(home).f_bavail > 0
    except OSError:
        return True


def _told(event: EventView) -> str:
    text = make_visible(event.message or event.kind)
    if not event.service:
        return text
    name, word = make_visible(event.service), make_visible(event.kind.rpartition(".")[2])
    return f"{name} {word}" if text == word else f"{name} {word}: {text}"


class _Foreground:
    """The three phases of a fleet in the foreground."""

    def __init__(self, session: Session, screen: Screen) -> None:
        self.session = session
        self.screen = screen
        self._logs: FleetLogs | None = None
        self._painter: LogPainter | None = None
        self._table_at = 0.0
        self._table_age = 0.0

    def run(self, timeout: float) -> int:
        """Go through the phases."""
        session = self.session
        until = time.monotonic() + timeout
        signals = session.run_until(
            lambda: is_settled(session) or time.monotonic() >= until, _FRAME, self._on_start
        )
        if not signals and not self.screen.is_live:
            # Status may be quicker than the events behind it; line by line they come first.
            late = time.monotonic() + _BEHIND
            signals = session.run_until(lambda: time.monotonic() >= late, _FRAME, self._say_events)
        if not signals and not session.is_over():
            self._show_table()
            session.is_awaited = session.status is None
            signals = session.run_until(lambda: False, self._tick(), self._on_run)
            session.is_awaited = True
        if signals:
            return self._stop(signals)
        self._catch_up()
        ended = exit_by_policy(session.keeper, session.home)
        if ended is not None:
            self.screen.say([ended.why])
            return ended.status
        if session.keeper.returncode == 0:
            self.screen.say(["the fleet was stopped"])
            return 0
        self.screen.end_region(is_kept=True)
        self.screen.say(tail_of(session.home / LOG_NAME, _TAIL))
        raise keeper_lost(session.keeper, session.home)

    def _on_start(self) -> None:
        terminal = self.screen.terminal
        if self.screen.is_live:
            now = time.time()
            self.screen.show(starting_frame(self.session.status, terminal, now, self.session.age()))
        else:
            self._say_events()

    def _tick(self) -> float:
        return poll_interval(len(self.session.status.services) if self.session.status else 0)

    def _show_table(self) -> None:
        self.screen.end_region()
        status = self.session.status
        if status is None:
            home = self.session.home
            self.screen.say(
                [f"no answer from the daemon yet; see {home / LOG_NAME}", *tail_of(home / LOG_NAME, _TAIL)]
            )
            return
        self._table_at, self._table_age = time.time(), self.session.age()
        terminal = self.screen.terminal
        offer = [terminal.paint(_OFFER, "dim")] if self.screen.is_live else []
        self.screen.say(["", *summary_lines(status, terminal, self._table_at), "", *offer])
        self._open_logs()

    def _open_logs(self) -> None:
        status = self.session.status
        if self._logs is None and status is not None:
            names = [service.name for service in status.services]
            # What was said during the start is shown as far as it does not bury the table.
            limit = _LINES_PLAIN if not self.screen.is_live else _LINES_SHOWN // max(1, len(names))
            layout = Layout.read(self.session.home)
            # The start by the clock as it was, or as it is now where it was set back meanwhile.
            since = min(self.session.began, time.time() - self.session.age())
            self._logs = FleetLogs(layout, names, limit=limit, since=since)
            self._painter = LogPainter([*names, "orchestra"], self.screen.terminal, is_prefixed=True)

    def _on_run(self) -> None:
        if self._logs is None:
            self._show_late_table()
        if self._painter is None:
            self._say_events()
            return
        prefix = self._painter.prefix("orchestra")
        said = [prefix + _told(event) for event in self._notable() if not self._is_in_table(event)]
        self.screen.say([*self._new_lines(), *said])

    def _is_in_table(self, event: EventView) -> bool:
        """Return whether the table has shown it already: it is from before, and as late as events may be."""
        # A wall clock that was set back would have all that follows look as if it came before.
        is_late = self.session.age() < self._table_age + _BEHIND
        is_before = self._table_at - self._table_age <= event.at <= self._table_at
        return self.screen.is_live and is_late and is_before

    def _show_late_table(self) -> None:
        if self.session.status is not None:
            self.session.is_awaited = False
            self._show_table()

    def _new_lines(self) -> list[str]:
        if self._logs is None or self._painter is None:
            return []
        if self.session.status is not None:
            self._logs.add([service.name for service in self.session.status.services])
        return [self._painter.line(name, line) for name, line in self._logs.take()]

    def _notable(self) -> list[EventView]:
        return [event for event in self.session.events if event.kind not in _QUIET]

    def _say_events(self) -> None:
        terminal = self.screen.terminal
        self.screen.say([event_line(event, terminal, is_dated=False) for event in self._notable()])

    def _catch_up(self) -> None:
        self.screen.say(self._new_lines())

    def _stop(self, signals: list[int]) -> int:
        session = self.session
        began = time.monotonic()
        order = StopOrder(session.send)
        pending = signals
        while not session.is_over():
            told = order.take(pending)
            if not self.screen.is_live:
                self.screen.say(told)
            if self.screen.is_live:
                word, offer = ("hurrying", "") if order.is_hurried else _IN_ORDER
                terminal = self.screen.terminal
                # Drawn before anything is said, as it wipes the ^C that the terminal has echoed.
                now, took = time.time(), time.monotonic() - began
                self.screen.show(stopping_frame(session.status, terminal, now, took, word, offer))
            pending = session.step(_FRAME)
            self.screen.say(self._new_lines())
            if not self.screen.is_live:
                self._say_events()
        self.screen.end_region()
        self._catch_up()
        if session.keeper.returncode != 0:
            raise keeper_lost(session.keeper, session.home)
        self.screen.say([f"all stopped in {time.monotonic() - began:.1f} s"])
        return HURRIED if order.is_hurried else 0
