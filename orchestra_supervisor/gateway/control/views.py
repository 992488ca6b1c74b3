"""Services as the tools show them: the row of the daemon's status in fewer and plainer words."""

from collections.abc import Iterable, Mapping

from orchestra_supervisor.gateway.control.fields import (
    flag,
    member,
    number,
    opt_text,
    text,
    texts,
    whole,
)
from orchestra_supervisor.gateway.control.tool import object_of
from orchestra_supervisor.gateway.control.words import age_text, instant_text, size_text
from orchestra_supervisor.gateway.messages import Json

__all__ = [
    "BRIEF",
    "FULL",
    "PROBLEM",
    "STATES",
    "brief",
    "full",
    "line_of",
    "problem_of",
    "summary",
    "summary_text",
]

STATES = (
    *("ready", "running", "starting", "unhealthy", "waiting", "backoff"),
    *("stopping", "stopped", "completed", "failed"),
)

_TEXT: Json = {"type": "string"}
_NULL_TEXT: Json = {"type": ["string", "null"]}
_NULL_WHOLE: Json = {"type": ["integer", "null"]}
_NULL_NUMBER: Json = {"type": ["number", "null"]}
_FLAG: Json = {"type": "boolean"}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_BRIEF: Json = {
    "name": _TEXT,
    "kind": {"type": "string", "description": "daemon, once or periodic"},
    "state": {"type": "string", "description": ", ".join(STATES)},
    "wanted": {"type": "string", "description": "up or down: where it is wanted"},
    "since": {"type": ["string", "null"], "description": "since when it is in this state, ISO 8601"},
    "restarts": {"type": "integer"},
    "port": _NULL_WHOLE,
    "url": _NULL_TEXT,
    "protected": {"type": "boolean", "description": "stop and restart need the user's word"},
    "note": {"type": "string", "description": "why it is in this state, where that is not plain"},
}
BRIEF: Json = object_of(_BRIEF)
"""Schema of a service in few words."""
FULL: Json = object_of(
    {
        **_BRIEF,
        "title": _TEXT,
        "reason": _TEXT,
        "pid": _NULL_WHOLE,
        "started": _NULL_TEXT,
        "next_start": _NULL_TEXT,
        "waiting_for": _TEXTS,
        "probe_error": {"type": "string", "description": "what its probe saw last, from outside"},
        "says": {"type": "string", "description": "what it says of itself, from outside"},
        "last_exit": {
            "type": ["object", "null"],
            "properties": {
                "text": _TEXT,
                "code": _NULL_WHOLE,
                "signal": _NULL_TEXT,
                "at": _NULL_TEXT,
                "success": _FLAG,
            },
            "required": ["text", "code", "signal", "at", "success"],
            "additionalProperties": False,
        },
        "down_reason": _TEXT,
        "enabled": _FLAG,
        "tags": _TEXTS,
        "cpu_percent": _NULL_NUMBER,
        "memory_bytes": _NULL_NUMBER,
        "processes": _NULL_WHOLE,
    }
)
"""Schema of a service in all words."""
PROBLEM: Json = object_of({"service": _TEXT, "state": _TEXT, "why": _TEXT, "hint": _TEXT})
"""Schema of a problem."""

_PLAIN = frozenset({"ready", "running", "completed", "stopped by hand", "starting"})


def brief(row: Mapping[str, object]) -> Json:
    """Return a service in few words."""
    reason = text(row, "reason")
    return {
        "name": text(row, "name"),
        "kind": text(row, "kind"),
        "state": text(row, "state"),
        "wanted": text(row, "desired"),
        "since": instant_text(number(row, "since")),
        "restarts": whole(row, "restarts") or 0,
        "port": whole(row, "port"),
        "url": opt_text(row, "url"),
        "protected": flag(row, "protected"),
        "note": "" if reason in _PLAIN and text(row, "state") in {"ready", "running"} else reason,
    }


def full(row: Mapping[str, object]) -> Json:
    """Return a service in all words."""
    ended, figures = member(row, "exit"), member(row, "figures")
    last: Json | None = None
    if ended:
        last = {
            "text": text(ended, "text"),
            "code": whole(ended, "code"),
            "signal": opt_text(ended, "signal"),
            "at": instant_text(number(ended, "at_wall")),
            "success": flag(ended, "success"),
        }
    return {
        **brief(row),
        "title": text(row, "title"),
        "reason": text(row, "reason"),
        "pid": whole(row, "pid"),
        "started": instant_text(number(row, "started")),
        "next_start": instant_text(number(row, "next_start")),
        "waiting_for": texts(row, "waiting_for"),
        "probe_error": text(row, "probe_error"),
        "says": text(row, "status_text"),
        "last_exit": last,
        "down_reason": text(row, "down_reason"),
        "enabled": flag(row, "enabled"),
        "tags": texts(row, "tags"),
        "cpu_percent": number(figures, "cpu"),
        "memory_bytes": number(figures, "memory"),
        "processes": whole(figures, "processes"),
    }


def problem_of(row: Mapping[str, object]) -> Json | None:
    """Return what is wrong with a service, or None. One that somebody wants down is no problem."""
    state, name = text(row, "state"), text(row, "name")
    is_bad = state in {"failed", "unhealthy", "backoff"}
    is_held = state == "waiting" and bool(texts(row, "waiting_for"))
    is_slow = state in {"starting", "running"} and bool(text(row, "probe_error"))
    is_stuck = state == "stopping" and "SIGKILL was sent" in text(row, "reason")
    if not (is_bad or is_held or is_slow or is_stuck):
        return None
    why = text(row, "reason")
    if is_held:
        why = f"waits for {', '.join(texts(row, 'waiting_for'))}"
    elif text(row, "probe_error") and text(row, "probe_error") not in why:
        why = f"{why}; its probe: {text(row, 'probe_error')}"
    return {"service": name, "state": state, "why": why, "hint": f"service_diagnose with name={name!r}"}


def summary(rows: Iterable[Mapping[str, object]]) -> Json:
    """Return how many services there are, and how many in each state that any is in."""
    counts: dict[str, int] = {}
    for row in rows:
        state = text(row, "state")
        counts[state] = counts.get(state, 0) + 1
    return {"total": sum(counts.values()), **{state: counts[state] for state in STATES if state in counts}}


def summary_text(counts: Mapping[str, object]) -> str:
    """Return the summary in one line: `12 services: 10 ready, 2 failed`."""
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if state != "total")
    total = counts["total"]
    return f"{total} service{'' if total == 1 else 's'}" + (f": {states}" if states else "")


def line_of(row: Mapping[str, object], now: float) -> str:
    """Return a service on one line."""
    parts = [f"{text(row, 'name')}  {text(row, 'state')}"]
    if age := age_text(number(row, "since"), now):
        parts.append(f"since {age}")
    if (pid := whole(row, "pid")) is not None:
        parts.append(f"pid {pid}")
    if (port := whole(row, "port")) is not None:
        parts.append(f"port {port}")
    if restarts := whole(row, "restarts"):
        parts.append(f"{restarts} restarts")
    if (memory := number(member(row, "figures"), "memory")) is not None:
        parts.append(size_text(memory))
    if flag(row, "protected"):
        parts.append("protected")
    note = str(brief(row)["note"])
    return ", ".join(parts) + (f": {note}" if note else "")
