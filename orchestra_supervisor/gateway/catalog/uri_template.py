"""Tells whose template a uri is of: RFC 6570 read backwards, well enough to find an owner."""

import re
from collections.abc import Callable

__all__ = ["template_pattern"]

_EXPRESSION = re.compile(r"\{([+#./;?&]?)[^{}]*\}")
_LIMIT = 2000  # characters of a template that is turned into a pattern
_EXPRESSIONS = 8  # of one template; what comes after may be anything, so that no pattern takes long
_WHAT = {
    "": r"[^/?#]*",
    "+": r".*",
    "#": r"(?:#.*)?",
    ".": r"(?:\.[^/?#]*)?",
    "/": r"(?:/[^?#]*)?",
    ";": r"(?:;[^/?#]*)?",
    "?": r"(?:\?[^#]*)?",
    "&": r"(?:&[^#]*)?",
}


def template_pattern(template: str) -> Callable[[str], bool]:
    """Return a function that says whether a uri can be of a template."""
    pattern = _pattern(template)

    def is_of(uri: str) -> bool:
        return pattern.fullmatch(uri) is not None

    return is_of


def _pattern(template: str) -> re.Pattern[str]:
    parts: list[str] = []
    start = 0
    for number, found in enumerate(_EXPRESSION.finditer(template[:_LIMIT])):
        if number == _EXPRESSIONS:
            return re.compile("".join(parts) + ".*", re.DOTALL)
        parts.append(re.escape(template[start : found.start()]))
        parts.append(_WHAT[found[1]])
        start = found.end()
    parts.append(re.escape(template[start:_LIMIT]))
    return re.compile("".join(parts), re.DOTALL)
