"""Regular expressions that are matched against what services write, in bounded time.

Python's `re` cannot be interrupted and holds the interpreter while it matches: one pattern like `(a+)+$` on
one long line would stop the whole daemon. `regex` reads the same syntax, lets other threads run, and gives up
when its time is over.
"""

import functools
from typing import Protocol, cast

__all__ = ["LinePattern", "compile_line_pattern"]


class LinePattern(Protocol):
    """A compiled pattern."""

    def search(self, string: str, *, concurrent: bool, timeout: float) -> object | None:
        """Return a match, or None.

        Args:
            string: What is searched.
            concurrent: Let other threads run meanwhile.
            timeout: Seconds.

        Raises:
            TimeoutError: The time is over.
        """
        ...


@functools.lru_cache(maxsize=1024)
def compile_line_pattern(text: str) -> LinePattern:
    """Compile a pattern.

    Raises:
        ValueError: It is not a regular expression; says why.
    """
    import regex  # noqa: PLC0415  # 3 MB and 10 ms that a fleet without such patterns does not pay

    try:
        return cast("LinePattern", regex.compile(text))
    except (regex.error, OverflowError, RecursionError) as error:
        msg = f"is not a regular expression: {error}"
        raise ValueError(msg) from error
