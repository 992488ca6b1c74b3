"""What differs between two fleets, by comparing whole specs: no field can be forgotten."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from orchestra_supervisor.model.spec import ServiceSpec

__all__ = ["FleetDiff", "changed_fields", "diff_fleets", "needs_restart", "run_digest"]

_LIVE_FIELDS = frozenset(
    {
        "title",
        "description",
        "priority",
        "start_delay",
        "required_for_system",
        "depends_on",
        "schedule",
        "restart",
        "stop",
        "probes",
        "startup_timeout",
        "url",
        "log",
        "tags",
        "limits",
        "recycle",
        "reload",
        "replica",
    }
)
"""Fields that a running process knows nothing of: policies, probes, words. All others need a new run,
so that a field added later restarts by default rather than being forgotten."""


@dataclass(frozen=True, slots=True)
class FleetDiff:
    """Names of services that were added, removed, and changed in any field."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def diff_fleets(old: Mapping[str, ServiceSpec], new: Mapping[str, ServiceSpec]) -> FleetDiff:
    """Compare two fleets service by service."""
    return FleetDiff(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(name for name in new if name in old and old[name] != new[name]),
    )


def changed_fields(old: ServiceSpec, new: ServiceSpec) -> tuple[str, ...]:
    """Return the names of the fields in which two specs differ."""
    return tuple(name for name in type(new).model_fields if getattr(old, name) != getattr(new, name))


def needs_restart(old: ServiceSpec, new: ServiceSpec) -> bool:
    """Return whether a running process must be replaced for the change to hold."""
    return any(name not in _LIVE_FIELDS for name in changed_fields(old, new))


def run_digest(spec: ServiceSpec) -> str:
    """Return 12 hex digits that differ whenever `needs_restart` holds between two specs.

    A run carries the digest of the spec it was started from, so that a daemon that comes back after a
    half-done reload sees which runs are of the past.
    """
    fields = spec.model_dump(mode="json", exclude=set(_LIVE_FIELDS))
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode("ascii")).hexdigest()[:12]
