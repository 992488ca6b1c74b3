"""What a check says."""

from collections.abc import Callable
from typing import Literal, NamedTuple

__all__ = ["Check", "Grade", "Verdict"]

Grade = Literal["ok", "warn", "fail"]


class Verdict(NamedTuple):
    """One line of the page.

    Attributes:
        subject: What was looked at, one or two words.
        grade: `warn`: it works, and may not for long; `fail`: something does not work.
        text: What was found.
        hint: The way out; empty where all is well.
    """

    subject: str
    grade: Grade
    text: str
    hint: str = ""


Check = Callable[[], list[Verdict]]
"""Makes some lines."""
