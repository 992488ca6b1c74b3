"""Who a caller is, before anything is known of the protocol that they speak."""

from dataclasses import dataclass
from typing import Protocol

from orchestra_supervisor.gateway.endpoint import Role

__all__ = ["Doorkeeper", "Identity", "NotAllowed"]


@dataclass(frozen=True, slots=True)
class Identity:
    """One caller.

    Attributes:
        principal: For the audit and for what is kept apart by user: `uid 1000`, `token laptop`.
        role: What they may do.
    """

    principal: str
    role: Role


class NotAllowed(Exception):
    """Somebody who is not let in; the text says why and what to do."""


class Doorkeeper(Protocol):
    """Tells who a caller is."""

    def by_header(self, authorization: str | None) -> Identity:
        """Return who sent an HTTP request.

        Args:
            authorization: The header, where there is one.

        Raises:
            NotAllowed: Nobody who may.
        """
        ...
