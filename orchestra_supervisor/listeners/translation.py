"""From our events to supervisord's: one process, one state, one way from each to the next. No I/O.

Our events may come twice (a daemon that was killed had told them, and the next one tells them again) and
some of our states are one of theirs: what changes no state of theirs makes nothing happen.

docs/event-listeners.md has the table.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from orchestra_supervisor.listeners.catalog import (
    Happening,
    group_event,
    remote,
    state_event,
    supervisor_event,
)

__all__ = ["Known", "Translator"]

Json = Mapping[str, object]

_WITH_TRIES = frozenset({"STARTING", "BACKOFF"})
_WITH_PID = frozenset({"RUNNING", "STOPPING", "STOPPED"})
_REST = frozenset({"STOPPED", "EXITED", "FATAL", "BACKOFF"})
_AT_REST = frozenset({"EXITED", "FATAL"})
_END = {"STARTING": "BACKOFF", "RUNNING": "EXITED", "STOPPING": "STOPPED"}
"""What the end of its process makes of a state."""
_UP_ORDER = {"STARTING": 1, "RUNNING": 2, "STOPPING": 3}
_NEXT = {
    "STOPPED": ("STARTING",),
    "STARTING": ("RUNNING", "BACKOFF", "STOPPING"),
    "RUNNING": ("EXITED", "STOPPING"),
    "BACKOFF": ("STARTING", "FATAL", "STOPPED"),
    "STOPPING": ("STOPPED",),
    "EXITED": ("STARTING",),
    "FATAL": ("STARTING",),
    "UNKNOWN": (),
}
"""Which states follow on which. Source: supervisor 4.3, `process.py`."""
_STATES = {
    "starting": "STARTING",
    "running": "RUNNING",
    "ready": "RUNNING",
    "unhealthy": "RUNNING",
    "stopping": "STOPPING",
}
"""Our states of a run in supervisord's words."""


@dataclass(slots=True)
class Known:
    """A process as listeners know it.

    Attributes:
        group: Its group.
        process: Its name.
        state: In supervisord's words.
        pid: Of its run, 0: it has none.
        run: Its present or last run.
        tries: Starts in a row that came to nothing.
        ended: The last run whose end was told.
    """

    group: str
    process: str
    state: str = "STOPPED"
    pid: int = 0
    run: str = ""
    tries: int = 0
    ended: str = ""


class Translator:
    """Knows every process, and says what an event of ours means to listeners."""

    def __init__(self) -> None:
        self.processes: dict[str, Known] = {}
        """By service."""
        self.groups: list[str] = []
        """Those that were told of as added."""
        self.is_stopping = False

    @property
    def states(self) -> dict[str, str]:
        """The state of every service, in supervisord's words."""
        return {name: known.state for name, known in self.processes.items()}

    def learn(self, service: str, group: str, process: str) -> None:
        """Take the names of a service as they are now."""
        known = self.processes.setdefault(service, Known(group, process))
        known.group, known.process = group, process

    def take(self, event: Json) -> list[Happening]:
        """Return what an event of the daemon means: nothing, or one thing or more in this order."""
        kind, data = str(event.get("kind", "")), _object(event.get("data"))
        match kind:
            case "daemon.started" if data.get("fresh") is True:
                return [*self._added(self.processes), supervisor_event("RUNNING")]
            case "daemon.stopping" if not self.is_stopping:
                self.is_stopping = True
                return [supervisor_event("STOPPING")]
            case "fleet.changed":
                return self._added(_texts(data.get("added")))
            case "supervisor.remote_communication":
                return [remote(str(data.get("type", "")), str(data.get("data", "")))]
            case "service.removed":
                return self._removed(str(event.get("service", "")))
            case _:
                known, word = self.processes.get(str(event.get("service", ""))), _WORDS.get(kind)
                return [] if known is None or word is None else word(known, event, data)

    def correct(self, service: str, state: str, run: str, pid: int) -> list[Happening]:
        """Take the state of a process as the daemon has it, after all that it has told.

        Args:
            service: Our name of it.
            state: In supervisord's words.
            run: Its present run, or empty.
            pid: Of that run, or 0.
        """
        known = self.processes.get(service)
        if known is None or (known.state == state and run in {"", known.run}):
            return []
        found = _catch_up(known, run, state, pid) if run else []
        return [*found, *_go(known, state)]

    # Groups.

    def _added(self, services: Iterable[str]) -> list[Happening]:
        found: list[Happening] = []
        for service in services:
            known = self.processes.get(service)
            if known is not None and known.group not in self.groups:
                self.groups.append(known.group)
                found.append(group_event("ADDED", known.group))
        return found

    def _removed(self, service: str) -> list[Happening]:
        known = self.processes.pop(service, None)
        if known is None or any(one.group == known.group for one in self.processes.values()):
            return []
        if known.group not in self.groups:
            return []
        self.groups.remove(known.group)
        return [group_event("REMOVED", known.group)]


# Processes.


def _waiting(known: Known, event: Json, data: Json) -> list[Happening]:
    del event
    if data.get("idle") is True:  # a periodic one, between its runs
        return _enter(known, "STOPPED")
    known.tries = _number(data.get("tries"), known.tries)
    return _enter(known, "STARTING")


def _starting(known: Known, event: Json, data: Json) -> list[Happening]:
    run, found = str(event.get("run", "")), list[Happening]()
    if run != known.run:
        if known.state in {"RUNNING", "STOPPING"}:
            found = _go(known, _END[known.state])
        known.run, known.pid = run, 0
    return [*found, *_waiting(known, event, data)]


def _spawned(known: Known, event: Json, data: Json) -> list[Happening]:
    return _catch_up(known, str(event.get("run", "")), "STARTING", _number(data.get("pid"), 0))


def _running(known: Known, event: Json, data: Json) -> list[Happening]:
    found = _catch_up(known, str(event.get("run", "")), "STARTING", _number(data.get("pid"), known.pid))
    known.tries = 0
    return [*found, *_enter(known, "RUNNING")]


def _stopping(known: Known, event: Json, data: Json) -> list[Happening]:
    run = str(event.get("run", ""))
    if run == known.ended:
        return []  # what its leader has left behind is stopped: that is none of supervisord's concern
    found = _catch_up(known, run, "STARTING", _number(data.get("pid"), known.pid))
    return [*found, *_enter(known, "STOPPING")]


def _exited(known: Known, event: Json, data: Json) -> list[Happening]:
    """Its leader has ended, or it never had one."""
    run = str(event.get("run", ""))
    if run == known.ended:
        return []
    state = _STATES.get(str(data.get("state", "")), "STARTING")
    found = _catch_up(known, run, state, _number(data.get("pid"), known.pid))
    to = _END.get(known.state)
    if to is not None:
        known.tries += to == "BACKOFF"
        found += _enter(known, to, expected=data.get("success") is True)
    known.ended, known.pid = run, 0
    return found


def _catch_up(known: Known, run: str, state: str, pid: int) -> list[Happening]:
    """Tell what was not told: that a run is there, and as far as this.

    A daemon that is killed may have done what it did not come to tell, and the next one does not know
    what was told.

    Args:
        known: The process.
        run: Its present run.
        state: At least STARTING, RUNNING, STOPPING.
        pid: Of the run.
    """
    found: list[Happening] = []
    if run and run != known.run:
        if known.state in _END and known.run:
            found += _go(known, _END[known.state])
        found += _go(known, "STARTING")
        known.run = run
    known.pid = pid
    if _UP_ORDER.get(known.state, 9) < _UP_ORDER.get(state, 0):
        found += _go(known, state)
    return found


def _go(known: Known, to: str) -> list[Happening]:
    """Go to a state by the shortest way that supervisord knows; there may be none, then at once."""
    if known.state in _REST and to in _REST:
        return _stopped(known, {}, {}) if to == "STOPPED" else _enter(known, to)
    ways: list[list[str]] = [[known.state]]
    seen = {known.state}
    for way in ways:  # grows meanwhile
        if way[-1] == to:
            return [happening for state in way[1:] for happening in _enter(known, state)]
        for following in _NEXT[way[-1]]:
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    known.state = to
    return []


def _backoff(known: Known, event: Json, data: Json) -> list[Happening]:
    del event
    known.tries = _number(data.get("tries"), known.tries)
    return _enter(known, "BACKOFF")


def _stopped(known: Known, event: Json, data: Json) -> list[Happening]:
    del event, data
    if known.state not in _AT_REST:
        return _enter(known, "STOPPED")
    known.state = "STOPPED"  # a word of ours: supervisord stops nothing that does not run
    return []


def _completed(known: Known, event: Json, data: Json) -> list[Happening]:
    del event, data
    return _enter(known, "EXITED", expected=True)


def _failed(known: Known, event: Json, data: Json) -> list[Happening]:
    del event
    if known.state != "BACKOFF" and data.get("given_up") is False:
        return _enter(known, "EXITED")
    known.tries = 0
    return _enter(known, "FATAL")


def _enter(known: Known, to: str, *, expected: bool = False) -> list[Happening]:
    before, known.state = known.state, to
    if before == to:
        return []
    more: list[tuple[str, int]] = []
    if to in _WITH_TRIES:
        more = [("tries", known.tries)]
    elif to == "EXITED":
        more = [("expected", int(expected)), ("pid", known.pid)]
    elif to in _WITH_PID:
        more = [("pid", known.pid)]
    return [state_event(to, process=known.process, group=known.group, before=before, more=more)]


_WORDS: dict[str, Callable[[Known, Json, Json], list[Happening]]] = {
    "service.waiting": _waiting,
    "service.starting": _starting,
    "service.spawned": _spawned,
    "service.running": _running,
    "service.ready": _running,
    "service.unhealthy": _running,
    "service.stopping": _stopping,
    "service.exited": _exited,
    "service.spawn_failed": _exited,
    "service.backoff": _backoff,
    "service.stopped": _stopped,
    "service.completed": _completed,
    "service.failed": _failed,
}


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [str(one) for one in cast("list[object]", value)] if isinstance(value, list) else []


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
