"""The 27 event types of supervisord: what each is a kind of, and what its payload says.

Names, order of fields and line ends are to the letter: listeners split on them.

Source: supervisor 4.3, `events.py`; docs/event-listeners.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "PARENTS",
    "TICK_PERIODS",
    "Happening",
    "communication",
    "group_event",
    "is_a",
    "log_event",
    "remote",
    "state_event",
    "supervisor_event",
    "tick",
]

PARENTS: dict[str, str | None] = {
    "EVENT": None,
    "PROCESS_STATE": "EVENT",
    "PROCESS_STATE_STOPPED": "PROCESS_STATE",
    "PROCESS_STATE_EXITED": "PROCESS_STATE",
    "PROCESS_STATE_STARTING": "PROCESS_STATE",
    "PROCESS_STATE_STOPPING": "PROCESS_STATE",
    "PROCESS_STATE_BACKOFF": "PROCESS_STATE",
    "PROCESS_STATE_FATAL": "PROCESS_STATE",
    "PROCESS_STATE_RUNNING": "PROCESS_STATE",
    "PROCESS_STATE_UNKNOWN": "PROCESS_STATE",
    "PROCESS_COMMUNICATION": "EVENT",
    "PROCESS_COMMUNICATION_STDOUT": "PROCESS_COMMUNICATION",
    "PROCESS_COMMUNICATION_STDERR": "PROCESS_COMMUNICATION",
    "PROCESS_LOG": "EVENT",
    "PROCESS_LOG_STDOUT": "PROCESS_LOG",
    "PROCESS_LOG_STDERR": "PROCESS_LOG",
    "REMOTE_COMMUNICATION": "EVENT",
    "SUPERVISOR_STATE_CHANGE": "EVENT",
    "SUPERVISOR_STATE_CHANGE_RUNNING": "SUPERVISOR_STATE_CHANGE",
    "SUPERVISOR_STATE_CHANGE_STOPPING": "SUPERVISOR_STATE_CHANGE",
    "TICK": "EVENT",
    "TICK_5": "TICK",
    "TICK_60": "TICK",
    "TICK_3600": "TICK",
    "PROCESS_GROUP": "EVENT",
    "PROCESS_GROUP_ADDED": "PROCESS_GROUP",
    "PROCESS_GROUP_REMOVED": "PROCESS_GROUP",
}
"""Every type by name, with the type that it is a kind of; those that others are a kind of never happen."""
TICK_PERIODS = (5, 60, 3600)
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, in supervisord's words.

    Attributes:
        name: Its type.
        payload: What follows the header.
        group: The group that came or went, for PROCESS_GROUP alone.
    """

    name: str
    payload: str
    group: str = ""


def is_a(name: str, wanted: str) -> bool:
    """Return whether a type is another, or a kind of it."""
    one: str | None = name
    while one is not None and one != wanted:
        one = PARENTS.get(one)
    return one is not None


def state_event(
    to: str, *, process: str, group: str, before: str, more: Iterable[tuple[str, int]] = ()
) -> Happening:
    """Return PROCESS_STATE of a process.

    Args:
        to: The state it is in now.
        process: Its name.
        group: Its group.
        before: The state it was in.
        more: Names and numbers that this state has besides.
    """
    fields: list[tuple[str, object]] = [("processname", process), ("groupname", group)]
    fields += [("from_state", before), *more]
    return Happening(f"PROCESS_STATE_{to}", " ".join(f"{name}:{value}" for name, value in fields))


def log_event(stream: str, *, process: str, group: str, pid: int, data: bytes) -> Happening:
    """Return PROCESS_LOG: a process has written to `stdout` or `stderr`."""
    head = f"processname:{process} groupname:{group} pid:{pid} channel:{stream}"
    return Happening(f"PROCESS_LOG_{stream.upper()}", f"{head}\n{_text(data)}")


def communication(stream: str, *, process: str, group: str, pid: int, data: bytes) -> Happening:
    """Return PROCESS_COMMUNICATION: what a process has written between the two marks."""
    head = f"processname:{process} groupname:{group} pid:{pid}"
    return Happening(f"PROCESS_COMMUNICATION_{stream.upper()}", f"{head}\n{_text(data)}")


def remote(kind: str, data: str) -> Happening:
    """Return REMOTE_COMMUNICATION: a client's word."""
    return Happening("REMOTE_COMMUNICATION", f"type:{kind}\n{data}")


def supervisor_event(to: str) -> Happening:
    """Return SUPERVISOR_STATE_CHANGE to `RUNNING` or `STOPPING`."""
    return Happening(f"SUPERVISOR_STATE_CHANGE_{to}", "")


def group_event(what: str, group: str) -> Happening:
    """Return PROCESS_GROUP of a group that was `ADDED` or `REMOVED`."""
    return Happening(f"PROCESS_GROUP_{what}", f"groupname:{group}\n", group)


def tick(period: int, when: int) -> Happening:
    """Return TICK of a period in seconds; `when` is the beginning of the slice, seconds since the epoch."""
    return Happening(f"TICK_{period}", f"when:{when}")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"Undecodable: {data!r}"
