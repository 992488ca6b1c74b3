"""Things that happened, as the journal, the API and the terminal tell them."""

from dataclasses import dataclass, field

__all__ = ["Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: Dotted word, e.g. `service.ready`, `daemon.started`, `control.stop`.
        message: One line for people.
        at_wall: Seconds since the epoch.
        service: Name of the service, or empty.
        run: Run id, or empty.
        data: Further facts, JSON-ready, never secrets.
        seq: Position in the journal; 0 until it is known.
    """

    kind: str
    message: str
    at_wall: float
    service: str = ""
    run: str = ""
    data: dict[str, object] = field(default_factory=dict[str, object])
    seq: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of the control API."""
        return {
            "seq": self.seq,
            "at": self.at_wall,
            "kind": self.kind,
            "service": self.service,
            "run": self.run,
            "message": self.message,
            "data": self.data,
        }
