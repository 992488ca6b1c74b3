"""What differs between two fleets, and what each difference asks of what runs.

Whole specs are compared, and every field of them has its class in one of the two tables here: no field
can be forgotten, for a test fails where one has no class, and until then it restarts.
"""

import hashlib
import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from orchestra_supervisor.model.spec import FleetSettings, ServiceSpec

__all__ = [
    "SERVICE_FIELDS",
    "SETTING_FIELDS",
    "FieldClass",
    "FleetDiff",
    "When",
    "changed_fields",
    "class_of",
    "diff_fleets",
    "needs_restart",
    "run_digest",
    "settings_after_reload",
    "whole_digest",
]


class When(StrEnum):
    """From when on a changed value holds."""

    RESTART = "restart"
    """From the next run on: a service that is up gets a new one."""
    LIVE = "live"
    """At once; what runs goes on."""
    NEXT_UP = "next_up"
    """When the whole fleet is next started by `up`."""


@dataclass(frozen=True, slots=True)
class FieldClass:
    """How one field of the configuration changes.

    Attributes:
        when: From when on a new value holds.
        why: One clause for people.
    """

    when: When
    why: str


def _restart(why: str) -> FieldClass:
    return FieldClass(When.RESTART, why)


def _live(why: str) -> FieldClass:
    return FieldClass(When.LIVE, why)


def _next_up(why: str) -> FieldClass:
    return FieldClass(When.NEXT_UP, why)


_BORN_WITH = "a process keeps what it was started with"
_WORDS = "only shown"

SERVICE_FIELDS: Mapping[str, FieldClass] = {
    "name": _restart("another name is another service"),
    "title": _live(_WORDS),
    "description": _live(_WORDS),
    "kind": _restart("a job and a daemon end differently"),
    "schedule": _live("looked at from now on"),
    "argv": _restart(_BORN_WITH),
    "cwd": _restart(_BORN_WITH),
    "env": _restart(_BORN_WITH),
    "inherit_env": _restart(_BORN_WITH),
    "user": _restart(_BORN_WITH),
    "group": _restart(_BORN_WITH),
    "groups": _restart(_BORN_WITH),
    "umask": _restart(_BORN_WITH),
    "nice": _restart(_BORN_WITH),
    "oom_score_adj": _restart(_BORN_WITH),
    "rlimits": _restart(_BORN_WITH),
    "enabled": _restart("decides whether it runs"),
    "priority": _live("orders the next start"),
    "start_delay": _live("holds from the fleet's next start"),
    "required_for_system": _live("holds from the fleet's next start"),
    "depends_on": _live("looked at from now on"),
    "target": _restart("decides where it runs"),
    "start": _live("asked while a run starts"),
    "restart": _live("asked when the run ends"),
    "stop": _live("followed by the next stop"),
    "probes": _live("checked so from now on"),
    "startup_timeout": _live("counted from the run's start"),
    "pre_start": _restart("belongs to how a run is started"),
    "post_stop": _restart("belongs to how a run is started"),
    "reload": _live("followed by its next reload"),
    "sockets": _restart(_BORN_WITH),
    "start_on": _restart("decides when it runs"),
    "stdio": _restart(_BORN_WITH),
    "channel": _restart(_BORN_WITH),
    "notify": _restart("handed over as NOTIFY_SOCKET"),
    "watchdog": _restart("handed over as WATCHDOG_USEC"),
    "limits": _live("laid on its processes from now on"),
    "recycle": _live("counted from the run's start"),
    "port": _restart("handed over as PORT"),
    "url": _live(_WORDS),
    "log": _live("holds for the log that is being written"),
    "tags": _live(_WORDS),
    "watch": _live("watched so from now on"),
    "replica": _live("told to the next run"),
    "on_secret_change": _live("asked when a secret changes"),
    "protected": _live("told to whoever asks"),
    "supervisor": _live("told to supervisord's clients from now on"),
}
"""Every field of a service. A running process knows nothing of a live one."""

SETTING_FIELDS: Mapping[str, FieldClass] = {
    "log_directory": _next_up("logs that are being written stay where they are"),
    "remember_stops": _live("holds from the next stop by hand"),
    "control_group": _next_up("the control socket is open to the old group"),
    "secrets_file": _live("read when a process is next started"),
    "leftovers": _next_up("asked when the fleet starts"),
    "journal_keep": _live("holds from the next event"),
    "log_keep_bytes": _live("told to the logger"),
    "figures_period": _live("holds from the next look"),
    "credentials": _live("read when a process is next started"),
    "journald": _live("holds from the next event"),
    "systemd_ready": _live("holds from the next word to the service manager"),
    "plugins": _live("loaded and let go of by the reload"),
    "plugin_entry_points": _live("looked for by the reload"),
    "watch_config": _live("watched so from now on"),
    "watch_debounce": _live("watched so from now on"),
    "mcp": _live("asked for by the gateway"),
    "supervisor": _next_up("its sockets are open"),
    "exit_when": _live("asked when a service ends"),
    "console": _live("told to the logger"),
}
"""Every setting of the fleet."""

_UNKNOWN = _restart("not known to be safe under a running process")


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


def class_of(field: str) -> FieldClass:
    """Return the class of a field of a service."""
    return SERVICE_FIELDS.get(field, _UNKNOWN)


def changed_fields(old: ServiceSpec | FleetSettings, new: ServiceSpec | FleetSettings) -> tuple[str, ...]:
    """Return the names of the fields in which two specs, or two settings, differ."""
    return tuple(name for name in type(new).model_fields if getattr(old, name) != getattr(new, name))


def needs_restart(old: ServiceSpec, new: ServiceSpec) -> bool:
    """Return whether a running process must be replaced for the change to hold."""
    return any(class_of(name).when is When.RESTART for name in changed_fields(old, new))


def settings_after_reload(old: FleetSettings, new: FleetSettings) -> FleetSettings:
    """Return the settings that hold once a reload is over: what waits for the next `up` stays as it is.

    The daemon, its successors and whoever reads the logs all go by these, so that nobody looks for the
    logs or the socket where they are not yet.
    """
    kept = {name: getattr(old, name) for name, one in SETTING_FIELDS.items() if one.when is When.NEXT_UP}
    return new.model_copy(update=kept)


class _Digests(weakref.ref[ServiceSpec]):
    """What is known of a spec, for as long as it is there."""

    __slots__ = ("key", "run", "whole")
    key: int
    run: str
    whole: str


def run_digest(spec: ServiceSpec) -> str:
    """Return 12 hex digits that differ whenever `needs_restart` holds between two specs.

    A run carries the digest of the spec it was started from, so that a daemon that comes back after a
    half-done reload sees which runs are of the past. A spec is frozen, so it is worked out once for each
    and remembered for as long as the spec is there: a crash loop asks for it at every spawn.
    """
    known = _digests_of(spec)
    if not known.run:
        known.run = _digest(spec, _given(spec) - _live_fields())
    return known.run


def whole_digest(spec: ServiceSpec) -> str:
    """Return 12 hex digits that differ between any two specs that are not equal; remembered likewise."""
    known = _digests_of(spec)
    if not known.whole:
        known.whole = _digest(spec, _given(spec))
    return known.whole


def _given(spec: ServiceSpec) -> set[str]:
    """Return the fields that are not at their default.

    The others say nothing: so a field that a later version brings makes no run one of another spec.
    """
    defaults = _defaults()
    return {name for name, value in spec if name not in defaults or defaults[name] != value}


def _digest(spec: ServiceSpec, fields: set[str]) -> str:
    text = json.dumps(spec.model_dump(mode="json", include=fields), sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12]


@cache
def _defaults() -> Mapping[str, object]:
    fields = {name: field for name, field in ServiceSpec.model_fields.items() if not field.is_required()}
    return {name: field.get_default(call_default_factory=True) for name, field in fields.items()}


@cache
def _live_fields() -> frozenset[str]:
    return frozenset(name for name in ServiceSpec.model_fields if class_of(name).when is When.LIVE)


def _digests_of(spec: ServiceSpec) -> _Digests:
    known = _DIGESTS.get(id(spec))
    if known is None or known() is not spec:
        known = _Digests(spec, _forget)
        known.key, known.run, known.whole = id(spec), "", ""
        _DIGESTS[known.key] = known
    return known


def _forget(known: weakref.ref[ServiceSpec]) -> None:
    assert isinstance(known, _Digests)
    if _DIGESTS.get(known.key) is known:
        del _DIGESTS[known.key]


_DIGESTS: dict[int, _Digests] = {}
"""By identity, since a spec holds mappings and has no hash. A copy of a spec is another spec."""
