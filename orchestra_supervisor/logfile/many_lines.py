"""An expression that is meant for one line, searched in many lines at once."""

import re

__all__ = ["for_many_lines"]

# What an expression may hold that sees more than its own line then.
_SEES_NEIGHBOURS = re.compile(rb"\\[AZz]|\(\?|[*+?}]\+")


def for_many_lines(pattern: re.Pattern[bytes]) -> re.Pattern[bytes] | None:
    """Return an expression that is found in a block of lines if the pattern is found in one of them.

    It may be found where the pattern is in none: then each line is to be looked at.

    Returns:
        None: there is no such expression, each line has to be looked at.
    """
    if _SEES_NEIGHBOURS.search(pattern.pattern):
        return None
    return re.compile(pattern.pattern, pattern.flags | re.MULTILINE)
