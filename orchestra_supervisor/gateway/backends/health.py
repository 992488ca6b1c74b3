"""What the state of a backend is, by what is known of it. Pure: facts in, verdict out.

A process that exists proves little, and a server that once connected may list nothing. So the levels are
kept apart: there is something to talk to (L0), it speaks MCP (L1), it lists what it listed before (L2),
and a call that the operator names does what it should (L3).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from orchestra_supervisor.gateway.backends.link import Trouble
from orchestra_supervisor.gateway.messages import Json

__all__ = [
    "CRASHES",
    "CRASH_WINDOW",
    "UNANSWERED",
    "Facts",
    "Health",
    "Verdict",
    "backoff",
    "is_crash_loop",
    "judge",
]

CRASHES = 5
"""Ends in a row, each soon after a start, that make a crash loop."""
CRASH_WINDOW = 300.0
"""Seconds up after which earlier ends do not count any more."""
UNANSWERED = 3
"""Probes in a row without an answer that make a server one that does not answer."""
_PAUSES = (
    0.0,
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
    16.0,
)  # seconds before the next attempt, by failures in a row
_DOWN_PAUSE = 30.0  # seconds between attempts after that: a server may take minutes to be there
_HOPELESS_PAUSE = 300.0  # the same where little speaks for another outcome: slow, and never given up


class Health(StrEnum):
    """How a backend is."""

    IDLE = "idle"
    """Stopped until somebody calls it; what it offers is listed."""
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    """It answers, and something is wrong with it."""
    AUTH_REQUIRED = "auth_required"
    DOWN = "down"
    CRASH_LOOP = "crash_loop"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one instance.

    Attributes:
        is_up: There is a process, or should be something at the URL.
        is_demanded: It is started by who needs it.
        is_connected: It introduced itself on the link that stands.
        trouble: Why the last attempt failed or the last link ended, or None.
        why: That as text.
        crashes: Ends in a row, each soon after a start.
        unanswered: Probes in a row that got no answer.
        shrunk: It lists nothing, and it did before: how many it had.
        faults: What is wrong with it though it answers.
        canary: Why the operator's call failed, or empty.
    """

    is_up: bool
    is_demanded: bool = False
    is_connected: bool = False
    trouble: Trouble | None = None
    why: str = ""
    crashes: int = 0
    unanswered: int = 0
    shrunk: int = 0
    faults: tuple[str, ...] = ()
    canary: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, why, and the way out; and the levels, each True, False, or None where it is not known."""

    health: Health
    why: str = ""
    hint: str = ""
    levels: dict[str, bool | None] = field(default_factory=dict[str, "bool | None"])

    def to_json(self) -> Json:
        """Return it for reports."""
        return {"state": self.health.value, "why": self.why, "hint": self.hint, "levels": dict(self.levels)}


def judge(facts: Facts) -> Verdict:
    """Return the state of an instance."""
    is_silent = facts.unanswered >= UNANSWERED
    speaks = facts.is_connected and not is_silent
    levels: dict[str, bool | None] = {
        "L0": facts.is_connected or (facts.is_up and facts.trouble is not Trouble.LOST),
        "L1": speaks if facts.is_connected or facts.trouble else None,
        "L2": (not facts.shrunk and not facts.faults) if speaks else None,
        "L3": None,
    }
    if facts.is_connected:
        return _judge_connected(facts, levels, is_silent=is_silent)
    if facts.trouble is Trouble.AUTH:
        hint = "give it `headers` with a credential that it takes"
        return Verdict(Health.AUTH_REQUIRED, facts.why, hint, levels)
    if is_crash_loop(facts.crashes) and facts.trouble is not None:
        hint = "look at its log; it is tried again every few minutes, and at once when it is started"
        why = f"it ended {facts.crashes} times in a row, soon after its start: {facts.why}"
        return Verdict(Health.CRASH_LOOP, why, hint, levels)
    if facts.is_demanded and not facts.is_up:
        return Verdict(Health.IDLE, "stopped until it is called", "", {**levels, "L0": None, "L1": None})
    if facts.trouble is None:
        if facts.is_up:
            return Verdict(Health.STARTING, "it has not introduced itself yet", "", levels)
        return Verdict(Health.DOWN, "it does not run", "start its service", levels)
    hint = {
        Trouble.NOT_MCP: "check its address: MCP is often at /mcp",
        Trouble.SILENT: "it runs and says nothing: look at its log",
    }.get(facts.trouble, "look at its log; its clients are served again when it is back")
    return Verdict(Health.DOWN, facts.why, hint, levels)


def _judge_connected(facts: Facts, levels: dict[str, bool | None], *, is_silent: bool) -> Verdict:
    if is_silent:
        why = f"it left {facts.unanswered} questions in a row unanswered"
        return Verdict(Health.DOWN, why, "restart its service if it does not recover", levels)
    if facts.canary:
        return Verdict(Health.DEGRADED, facts.canary, "its canary call fails", {**levels, "L3": False})
    if facts.shrunk:
        why = f"it lists no tools any more, and had {facts.shrunk}; those are still shown"
        return Verdict(Health.DEGRADED, why, "look at its log", levels)
    if facts.faults:
        return Verdict(Health.DEGRADED, "; ".join(facts.faults), "tell its author", levels)
    return Verdict(Health.READY, "", "", levels)


def is_crash_loop(crashes: int) -> bool:
    """Return whether so many early ends in a row are a crash loop."""
    return crashes >= CRASHES


def backoff(failures: int, *, is_hopeless: bool = False) -> float:
    """Return the seconds before the next attempt.

    Args:
        failures: So many in a row.
        is_hopeless: It is in a crash loop, or answers with what no time changes.
    """
    if failures >= len(_PAUSES):
        return _HOPELESS_PAUSE if is_hopeless else _DOWN_PAUSE
    return _PAUSES[failures]
