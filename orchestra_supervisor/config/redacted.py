"""A fleet as it may be shown to whoever may look at it: no secret, and no value that might be one.

The rule for environments: a reference to a secret is shown, since it is a name; a value is shown where its
variable is known to hold nothing of worth, and never otherwise. Headers are treated like variables that
nobody knows. In all other texts what looks like a secret is replaced.
"""

import re
from collections.abc import Iterable, Mapping
from typing import cast

from orchestra_supervisor.config.environment import SECRET_REFERENCE
from orchestra_supervisor.config.findings import is_sensitive, masked
from orchestra_supervisor.model.spec import Fleet

__all__ = ["HIDDEN", "redacted_fleet", "shown_command"]

HIDDEN = "***"
"""Stands for what is not shown."""

_MAX_TEXT = 2_000  # characters: what looks for secrets takes time in the square of a word's length
_HARMLESS = re.compile(
    r"PATH|HOME|PWD|LANG|LC_[A-Z]+|TZ|TERM|USER|LOGNAME|SHELL|TMPDIR|PORT|HOST|NODE_ENV|DEBUG|LOG_?LEVEL|VIRTUAL_ENV"
    r"|PYTHON[A-Z]+|[A-Z0-9_]+_(PORT|HOST|LOG_?LEVEL|ENABLED|WORKERS|THREADS)"
)
"""Variables that are shown."""
_ENVIRONMENTS = frozenset({"env", "headers"})
_OPTIONS = frozenset({"options", "config", "auth"})
"""Keys of what plugins are given, and of who may use a server: values under a telling name are hidden."""


def redacted_fleet(fleet: Fleet, names: tuple[str, ...] = ()) -> dict[str, object]:
    """Return a fleet as JSON has it, fit to be shown.

    Args:
        fleet: As validated.
        names: Services that are told of; none: all.
    """
    chosen = {name: fleet.services[name] for name in names or fleet.services if name in fleet.services}
    part = fleet.model_copy(update={"services": chosen, "coming": {}})
    document = part.model_dump(mode="json", exclude={"coming"})
    return cast("dict[str, object]", _shown(document, ""))


def shown_command(words: Iterable[str]) -> list[str]:
    """Return the words of a command, fit to be shown."""
    return [str(word) for word in _list(list(words))]


def _shown(value: object, key: str) -> object:
    match value:
        case str():
            return _text(value)
        case dict():
            members = cast("dict[str, object]", value)
            if key in _ENVIRONMENTS:
                return {name: _variable(name, str(one)) for name, one in members.items()}
            if key in _OPTIONS:
                return _options(members)
            return {name: _shown(one, name) for name, one in members.items()}
        case list():
            return _list(cast("list[object]", value))
        case _:
            return value


def _variable(name: str, value: str) -> str:
    if SECRET_REFERENCE.fullmatch(value):
        return value
    if not _HARMLESS.fullmatch(name) or is_sensitive(name) or "${secret:" in value:
        return HIDDEN
    return _text(value)


def _options(members: Mapping[str, object]) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name, value in members.items():
        if is_sensitive(name) and not (isinstance(value, str) and SECRET_REFERENCE.fullmatch(value)):
            shown[name] = HIDDEN
        elif isinstance(value, dict):
            shown[name] = _options(cast("dict[str, object]", value))
        else:
            shown[name] = _shown(value, name)
    return shown


def _list(values: list[object]) -> list[object]:
    """Return a list; of a command, without what follows an option with a telling name."""
    found: list[object] = []
    before = ""
    for value in values:
        is_told = before.startswith("-") and "=" not in before and is_sensitive(before)
        found.append(HIDDEN if is_told and isinstance(value, str) else _shown(value, ""))
        before = value if isinstance(value, str) else ""
    return found


def _text(text: str) -> str:
    if len(text) > _MAX_TEXT:
        return f"{masked(text[:_MAX_TEXT])}... ({len(text) - _MAX_TEXT} characters left out)"
    return masked(text)
