"""What is known of a service that is looked into, and what is concluded from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from orchestra_supervisor.gateway.control.fields import member, text
from orchestra_supervisor.gateway.control.untrusted import LogLine
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Cause", "Certainty", "Facts"]


class Certainty(IntEnum):
    """How sure a cause is; ranks causes."""

    NOTED = 1
    """Worth knowing; not necessarily a fault."""
    POSSIBLE = 2
    LIKELY = 3
    CERTAIN = 4


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that explains how a service stands.

    Attributes:
        code: A word that stays the same: `port_taken`.
        what: For people, in a sentence.
        evidence: What it is concluded from; may quote what comes from outside.
        next_action: What to do.
        certainty: How sure it is.
        weight: Ranks causes that are as sure: a cause of causes weighs more than what follows from it.
    """

    code: str
    what: str
    evidence: tuple[str, ...]
    next_action: str
    certainty: Certainty
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known.

    Attributes:
        row: The service, as status has it.
        services: All services, by name.
        spec: Its configuration, without secrets.
        events: Its own events and those of the configuration, the oldest first.
        lines: Of its log: what its last runs wrote, the oldest first.
        checks: What its probes see now: rows of a check, or none.
        ports: Who listens on which port: rows of a check.
        now: Wall seconds.
        phase: Of the fleet.
    """

    row: Json
    services: Mapping[str, Json]
    spec: Json = field(default_factory=dict[str, object])
    events: tuple[Json, ...] = ()
    lines: tuple[LogLine, ...] = ()
    checks: tuple[Json, ...] = ()
    ports: tuple[Json, ...] = ()
    now: float = 0.0
    phase: str = "running"

    @property
    def name(self) -> str:
        """Return the service's name."""
        return text(self.row, "name")

    @property
    def state(self) -> str:
        """Return the service's state."""
        return text(self.row, "state")

    @property
    def reason(self) -> str:
        """Return why it is in its state."""
        return text(self.row, "reason")

    @property
    def exit_text(self) -> str:
        """Return how its last run ended, or nothing."""
        return text(member(self.row, "exit"), "text")

    @property
    def is_up(self) -> bool:
        """Return whether it does what it should, as far as is known."""
        return self.state in {"ready", "completed"}

    @property
    def is_in_trouble(self) -> bool:
        """Return whether it is wanted, and not there: only then its last end and words explain anything."""
        return not self.is_up and (text(self.row, "desired") != "down" or self.state == "stopping")

    def event(self, kind: str) -> Json | None:
        """Return the last event of a kind, or None."""
        return next((one for one in reversed(self.events) if text(one, "kind") == kind), None)
