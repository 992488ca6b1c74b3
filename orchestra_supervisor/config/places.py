"""Where a value of a spec was written: from the keys of a spec to the place in a file."""

from orchestra_supervisor.config.draft import KeyPath
from orchestra_supervisor.config.findings import Location
from orchestra_supervisor.config.load import Sources
from orchestra_supervisor.config.merge import Candidate

__all__ = ["place_of", "place_of_setting"]

_OTHER_KEYS: dict[KeyPath, tuple[KeyPath, ...]] = {
    ("title",): (("title",), ("name",)),
    ("kind",): (("kind",), ("type",)),
    ("argv",): (("command",),),
    ("url",): (("url",), ("health_url",)),
    ("restart", "policy"): (("restart", "policy"), ("restart",)),
    ("restart", "backoff", "initial"): (("restart", "backoff", "initial"), ("restart_delay",)),
    ("restart", "max_restarts"): (("restart", "max_restarts"), ("max_restarts",)),
    ("restart", "window"): (("restart", "window"), ("restart_window",)),
}
"""Spec path to the native paths that may give its value, the strongest first; else the path is the same."""
_CHECKS = {"http", "tcp", "command"}


def place_of(sources: Sources, service: str, path: tuple[str, ...]) -> Location:
    """Return where the value stands that a service has now; of one that fell to its default, the service.

    Args:
        sources: Of the files that the service is in.
        service: Its name.
        path: Keys of its spec down to the value.
    """
    candidate = sources.candidates.get(service)
    if candidate is None:
        return Location("")
    own, head = candidate.draft.origin, candidate.head
    for written in _native(path):
        if own.has(written):
            return own.where(written)
    if path[:1] == ("env",):
        return _place_of_variable(candidate, path)
    for written in (("settings", "defaults", *path), ("settings", "defaults", *path[:1])):
        if head.has(written):
            return head.where(written)
    return candidate.where()


def place_of_setting(sources: Sources, key: str) -> Location:
    """Return where a setting of the fleet stands; one that fell to its default stands nowhere."""
    return sources.setting(key)


def _place_of_variable(candidate: Candidate, path: tuple[str, ...]) -> Location:
    """Return where a variable was written, or the list of env files that it must come from."""
    own, head = candidate.draft.origin, candidate.head
    name = path[1:2]
    for origin, written in (
        (own, ("secrets", *name)),
        (head, ("settings", "environment", *name)),
        (own, ("env_files",)),
        (head, ("settings", "env_files")),
    ):
        if origin.has(written):
            return origin.where(written)
    return candidate.where()


def _native(path: tuple[str, ...]) -> list[KeyPath]:
    """Return native paths for one of a spec, then shorter ones: a part of what was written as a whole."""
    found: list[KeyPath] = []
    for length in range(len(path), 0, -1):
        part: KeyPath = path[:length]
        if part == ("env",):
            break  # the object says nothing of one variable
        if part[:1] == ("probes",):
            found += _native_probe(path[:length])
        elif part[:1] == ("depends_on",):
            found += [part, ("dependencies",)] if length == 1 else [part]
        else:
            found += _OTHER_KEYS.get(part, (part,))
    return found


def _native_probe(path: tuple[str, ...]) -> list[KeyPath]:
    if path[2:3] == ("check",):
        below = path[3:]
        names = ("body",) if below == ("body_match",) else below
        return [(*path[:2], check, *names) for check in sorted(_CHECKS)]
    if len(path) == 1:
        return [("health_url",), ("probes",)]
    return [path]
