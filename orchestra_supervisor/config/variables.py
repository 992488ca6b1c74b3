"""Variables in configuration values: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar sign.

Nothing else is special: `$NAME` without braces and a lone `$` stay as they are. `${secret:NAME}` is
left for the moment of spawning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from orchestra_supervisor.config.values import Expanded

__all__ = ["Expansion", "expand", "shell_variables"]

_MARK = re.compile(
    r"\$(?:(?P<dollar>\$)"
    r"|(?P<secret>\{secret:[^{}]*\})"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}"
    r"|(?P<bad>\{[^{}]*\}?))"
)
_SHELL_MARK = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Expansion:
    """A text with its variables filled in.

    Attributes:
        text: An `Expanded` where a variable was filled in.
        missing: Names that are not set and have no default; left as written.
        malformed: Marks that are no variable; left as written.
    """

    text: str
    missing: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def expand(text: str, lookup: Mapping[str, str]) -> Expansion:
    """Fill in the variables of a text.

    Args:
        text: As written in a file.
        lookup: Values by name.

    Returns:
        The text, and what could not be filled in.
    """
    if "$" not in text:
        return Expansion(text)
    missing: list[str] = []
    malformed: list[str] = []
    filled = False

    def replace(match: "re.Match[str]") -> str:
        nonlocal filled
        if match["dollar"]:
            return "$"
        if match["secret"]:
            return match[0]
        if match["bad"]:
            malformed.append(match[0])
            return match[0]
        name, default = match["name"], match["default"]
        value = lookup.get(name)
        if value is None or (value == "" and default is not None):
            if default is None:
                missing.append(name)
                return match[0]
            value = default
        filled = True
        return value

    result = _MARK.sub(replace, text)
    return Expansion(Expanded(result) if filled else result, tuple(missing), tuple(malformed))


def shell_variables(line: str) -> list[str]:
    """Return the names that a shell line uses in braces without a default."""
    return _SHELL_MARK.findall(line)
