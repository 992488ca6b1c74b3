"""Who asks something of the fleet, and what they may have done."""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Principal", "Role"]


class Role(IntEnum):
    """What a caller may do; each role may do what the lower ones may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    Attributes:
        name: For the audit: `alice (uid 1000, pid 4711)`.
        role: What they may do.
    """

    name: str
    role: Role
