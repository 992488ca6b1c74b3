"""From our events to supervisord's: one process, one state, one way from each to the next. No I/O.

Our events may come twice (a daemon that was killed had told them, and the next one tells them again) and
some of our states are one of theirs: what changes no state of theirs makes nothing happen.

docs/event-listeners.md has the table.
"""

from collections.abc import Iterable, Mapping
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
            case _ if kind.startswith("service."):
                known = self.processes.get(str(event.get("service", "")))
                return [] if known is None else self._of_process(known, kind, event, data)
            case _:
                return []

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

    def _of_process(self, known: Known, kind: str, event: Json, data: Json) -> list[Happening]:
        run, tries = str(event.get("run", "")), _number(data.get("tries"), known.tries)
        match kind.removeprefix("service."):
            case "waiting" if data.get("idle") is True:
                return self._enter(known, "STOPPED")
            case "waiting" | "starting" as word:
                if word == "starting":
                    known.run, known.pid = run, 0
                known.tries = tries
                return self._enter(known, "STARTING")
            case "spawned":
                known.run, known.pid = run, _number(data.get("pid"), 0)
            case "running" | "ready" | "unhealthy":
                known.pid = _number(data.get("pid"), known.pid)
                known.tries = 0
                return self._enter(known, "RUNNING")
            case "stopping" if known.state in _UP:
                return self._enter(known, "STOPPING")
            case "exited" if not known.run or known.run == run:
                return self._ended(known, expected=data.get("success") is True)
            case "spawn_failed" if not known.run or known.run == run:
                return self._ended(known, expected=False)
            case "backoff":
                known.tries = tries
                return self._enter(known, "BACKOFF")
            case "stopped":
                return self._enter(known, "STOPPED")
            case "completed":
                return self._enter(known, "EXITED", expected=True)
            case "failed" if known.state == "BACKOFF" or data.get("given_up") is not False:
                known.tries = 0
                return self._enter(known, "FATAL")
            case "failed":
                return self._enter(known, "EXITED", expected=False)
            case _:
                pass
        return []

    def _ended(self, known: Known, *, expected: bool) -> list[Happening]:
        """Its leader has ended, or it never had one."""
        found: list[Happening] = []
        match known.state:
            case "STOPPING":
                found = self._enter(known, "STOPPED")
            case "RUNNING":
                found = self._enter(known, "EXITED", expected=expected)
            case "STARTING":
                known.tries += 1
                found = self._enter(known, "BACKOFF")
            case _:
                pass
        known.pid = 0
        return found

    def _enter(self, known: Known, to: str, *, expected: bool = False) -> list[Happening]:
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


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [str(one) for one in cast("list[object]", value)] if isinstance(value, list) else []


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
