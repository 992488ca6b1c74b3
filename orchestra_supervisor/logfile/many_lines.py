"""An expression that is meant for one line, searched in many lines at once."""

import re
from typing import Protocol

__all__ = ["BoundedPattern", "Pattern", "for_many_lines"]


class BoundedPattern(Protocol):
    """A pattern of another engine than `re`, which may give up."""

    pattern: bytes

    def search(self, data: bytes, /) -> object | None:
        """Return a match, or None."""
        ...

    def for_many_lines(self) -> "BoundedPattern":
        """Return it for a block of lines: ^ and $ are the ends of each."""
        ...


Pattern = re.Pattern[bytes] | BoundedPattern
"""What lines are searched for."""

# What an expression may hold that sees more than its own line then.
_SEES_NEIGHBOURS = re.compile(rb"\\[AZz]|\(\?|[*+?}]\+")


def for_many_lines(pattern: Pattern) -> Pattern | None:
    """Return an expression that is found in a block of lines if the pattern is found in one of them.

    It may be found where the pattern is in none: then each line is to be looked at.

    Returns:
        None: there is no such expression, each line has to be looked at.
    """
    if _SEES_NEIGHBOURS.search(pattern.pattern):
        return None
    if isinstance(pattern, re.Pattern):
        return re.compile(pattern.pattern, pattern.flags | re.MULTILINE)
    return pattern.for_many_lines()
