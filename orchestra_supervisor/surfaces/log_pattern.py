"""Regular expressions that viewers have logs searched for: they hold up nobody, and come to an end.

`re` holds the interpreter while it matches: `(a+)+$` on one long line, and the daemon stands still. `regex`
reads the same syntax, lets other threads run, and gives up when its time is over.
"""

from typing import Any

from orchestra_supervisor.model.errors import InvalidRequest

__all__ = ["LogPattern"]

_LINE_TIME = 1.0  # seconds for one line
_BLOCK_TIME = 10.0  # seconds for many at once, which others are not held up by


class LogPattern:
    """A compiled expression, as `logfile` wants it.

    Args:
        text: The expression, of bytes.

    Raises:
        InvalidRequest: It is none.
    """

    def __init__(self, text: bytes, *, is_for_many: bool = False) -> None:
        import regex  # noqa: PLC0415  # 3 MB and 10 ms that a daemon whose logs nobody searches does not pay

        self.pattern = text
        self._time = _BLOCK_TIME if is_for_many else _LINE_TIME
        try:
            self._compiled: Any = regex.compile(text, regex.MULTILINE if is_for_many else 0)
        except (regex.error, OverflowError, RecursionError) as error:
            raise InvalidRequest(f"grep: {error}", hint="a regular expression as of Python's re") from error

    def search(self, data: bytes) -> object | None:
        """Return a match, or None.

        Raises:
            InvalidRequest: It takes too long to find out.
        """
        try:
            return self._compiled.search(data, concurrent=True, timeout=self._time)
        except TimeoutError:
            raise InvalidRequest(
                f"grep: {self.pattern.decode('utf-8', 'replace')!r} comes to no end within {self._time:g} s",
                hint="repeats within repeats, as in (a+)+, take twice as long with each further letter",
            ) from None

    def for_many_lines(self) -> "LogPattern":
        """Return the expression for a block of lines: ^ and $ are the ends of each."""
        return LogPattern(self.pattern, is_for_many=True)
