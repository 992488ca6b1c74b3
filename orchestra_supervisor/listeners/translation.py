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
_AT_REST = frozenset({"EXITED", "FATAL"})
_UP = frozenset({"STARTING", "RUNNING"})


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
    """

    group: str
    process: str
    state: str = "STOPPED"
    pid: int = 0
    run: str = ""
    tries: int = 0


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
    known.run, known.pid = str(event.get("run", "")), 0
    return _waiting(known, event, data)


def _spawned(known: Known, event: Json, data: Json) -> list[Happening]:
    known.run, known.pid = str(event.get("run", "")), _number(data.get("pid"), 0)
    return []


def _running(known: Known, event: Json, data: Json) -> list[Happening]:
    del event
    known.pid, known.tries = _number(data.get("pid"), known.pid), 0
    return _enter(known, "RUNNING")


def _stopping(known: Known, event: Json, data: Json) -> list[Happening]:
    del event, data
    # What its leader has left behind is stopped, too: that is none of supervisord's concern.
    return _enter(known, "STOPPING") if known.state in _UP else []


def _exited(known: Known, event: Json, data: Json) -> list[Happening]:
    """Its leader has ended, or it never had one."""
    if known.run and known.run != event.get("run"):
        return []
    found: list[Happening] = []
    match known.state:
        case "STOPPING":
            found = _enter(known, "STOPPED")
        case "RUNNING":
            found = _enter(known, "EXITED", expected=data.get("success") is True)
        case "STARTING":
            known.tries += 1
            found = _enter(known, "BACKOFF")
        case _:
            pass
    known.pid = 0
    return found


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
