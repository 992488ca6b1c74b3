"""Placeholders in texts: `{KEY}` in a template, `{replica}` and `{8000+replica}` in a replicated service.

Only known ones are touched, so that JSON in a command stays what it is. `{{KEY}}` is the text `{KEY}`;
`${KEY}` is a variable and none of ours.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from orchestra_supervisor.config.values import Expanded

__all__ = ["REPLICA", "Filled", "fill_replica", "fill_tree", "fill_values"]

REPLICA = "replica"
"""The word for the number of a replica; no template can give it another meaning."""

_WORD = re.compile(r"(?<!\$)\{(?P<literal>\{)?(?P<word>[A-Za-z_][A-Za-z0-9_]*)\}(?(literal)\})", re.ASCII)
_NUMBER = re.compile(
    r"(?<!\$)\{(?P<literal>\{)?(?P<sum>(?:(?P<base>[0-9]{1,9})(?P<sign>[+-]))?(?:(?P<times>[0-9]{1,9})\*)?replica"
    r"(?:(?P<after>[+-])(?P<more>[0-9]{1,9}))?)\}(?(literal)\})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Filled:
    """A text of a template with its values put in.

    Attributes:
        text: An `Expanded` where a value was put in: it may be read as a number or a truth.
        used: Keys that were put in.
        unknown: Words in braces that are nobody's key, left as written.
    """

    text: str
    used: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


def fill_values(text: str, values: Mapping[str, str]) -> Filled:
    """Put values into one text of a template.

    Args:
        text: As written in a file.
        values: By key.
    """
    if "{" not in text:
        return Filled(text)
    used: set[str] = set()
    unknown: list[str] = []

    def put(match: "re.Match[str]") -> str:
        word = match["word"]
        if word == REPLICA:  # of the replica, which comes later
            return match[0]
        if match["literal"]:
            return f"{{{word}}}"
        if word not in values:
            unknown.append(word)
            return match[0]
        used.add(word)
        return values[word]

    result = _WORD.sub(put, text)
    is_number = bool(used) or isinstance(text, Expanded)
    return Filled(Expanded(result) if is_number else result, frozenset(used), tuple(unknown))


def fill_replica(text: str, number: int) -> str:
    """Put the number of a replica into one text: `{replica}`, or a sum like `{8000+10*replica}`.

    Args:
        text: With its variables filled in.
        number: From 1.

    Returns:
        The text, an `Expanded` where the number was put in.
    """
    if REPLICA not in text:
        return text
    numbers = 0

    def put(match: "re.Match[str]") -> str:
        nonlocal numbers
        if match["literal"]:
            return f"{{{match['sum']}}}"
        numbers += 1
        value = number * int(match["times"] or 1)
        if match["base"]:
            value = int(match["base"]) + (value if match["sign"] == "+" else -value)
        if match["more"]:
            value += int(match["more"]) if match["after"] == "+" else -int(match["more"])
        return str(value)

    result = _NUMBER.sub(put, text)
    return Expanded(result) if numbers or isinstance(text, Expanded) else result


def fill_tree(value: object, fill: Callable[[str], str]) -> object:
    """Fill in every text of a value; keys stay as they are."""
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, list):
        return [fill_tree(item, fill) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: fill_tree(item, fill) for key, item in cast("dict[str, object]", value).items()}
    return value
