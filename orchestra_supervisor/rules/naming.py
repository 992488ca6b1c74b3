"""Which services are meant: names, globs, `tag:WORD`, `all`, and the nearest name to a wrong one."""

import difflib
import fnmatch
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from orchestra_supervisor.model.errors import InvalidRequest, UnknownService
from orchestra_supervisor.model.mcp import OWN_PREFIX

__all__ = ["resolve_names", "visible"]

T = TypeVar("T")

_SHOWN = 12
"""Known names that a hint lists at most."""


def visible(services: Mapping[str, T]) -> dict[str, T]:
    """Return what belongs to the services of the files: those of our own are shown to who names them."""
    return {name: one for name, one in services.items() if not name.startswith(OWN_PREFIX)}


def resolve_names(
    wanted: Iterable[str], known: Collection[str], groups: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Return the services that names, globs and `all` mean, each once, in the order given.

    Args:
        wanted: Names, globs, `tag:WORD`, `all`.
        known: Services. Those of our own (`@gateway`) have to be named.
        groups: What stands for several services: names with replicas, and tags.

    Raises:
        InvalidRequest: No name was given, or one that stands for no service now.
        UnknownService: A name or glob matches nothing; the hint has the nearest name.
    """
    found: dict[str, None] = {}
    shown = [name for name in known if not name.startswith(OWN_PREFIX)]
    patterns = list(wanted)
    if not patterns:
        raise InvalidRequest("no service named", hint="name services, or `all`")
    for pattern in patterns:
        if pattern in known:
            found[pattern] = None
            continue
        replicas = (groups or {}).get(pattern)
        if replicas is not None and not replicas:
            raise InvalidRequest(f"{pattern} has no replicas", hint=f"orchestra scale {pattern}=1")
        matches = replicas or (shown if pattern == "all" else fnmatch.filter(shown, pattern))
        if not matches:
            near = difflib.get_close_matches(pattern, [*(groups or {}), *shown], n=3)
            what = "no service" if not pattern.startswith("tag:") else "no service has the tag of"
            raise UnknownService(f"{what} {pattern!r}", hint=_hint(near, shown), name=pattern, nearest=near)
        found.update(dict.fromkeys(matches))
    return list(found)


def _hint(near: list[str], known: Collection[str]) -> str:
    if near:
        return f"did you mean {' or '.join(near)}?"
    some = sorted(known)[:_SHOWN]
    more = f" and {len(known) - len(some)} more" if len(known) > len(some) else ""
    return f"known: {', '.join(some) or 'none'}{more}"
