"""What a reload does: decided once, so that a plan and the reload that follows it are the same.

A plan is worked out from the fleet as applied, the fleet as the files have it, and the services as they
stand. `engine.verbs` carries it out; `config.plan` says it to people.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from pydantic import BaseModel

from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason
from orchestra_supervisor.rules.diff import (
    SETTING_FIELDS,
    FieldClass,
    When,
    class_of,
    diff_fleets,
    needs_restart,
)
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.rules.updates import groups_of

__all__ = ["Action", "Difference", "ReloadPlan", "ServiceChange", "differences", "plan_reload"]


class Action(StrEnum):
    """What becomes of one service."""

    ADD = "add"
    """It is new, and starts unless something keeps it down."""
    REMOVE = "remove"
    """It stops and is forgotten."""
    RESTART = "restart"
    """It gets a new run."""
    START = "start"
    """It was disabled, and starts."""
    STOP = "stop"
    """It is disabled now, and stops."""
    LIVE = "live"
    """It goes on, and what changed holds at once."""
    LATER = "later"
    """It is down and stays down; what changed holds when it is started."""
    ROLL = "roll"
    """It gets a new run when its turn comes: replicas that are updated one after the other."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs.

    Attributes:
        path: Keys of the spec down to the value.
        old: As applied, plain; None: not set.
        new: As the files have it, likewise.
        field: From when on the new one holds, and why.
    """

    path: tuple[str, ...]
    old: object
    new: object
    field: FieldClass

    @property
    def key(self) -> str:
        """Return the path with dots."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """What becomes of one service, and why: `differences` is empty for one that comes or goes."""

    name: str
    action: Action
    why: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """What a reload does.

    Attributes:
        services: Those that change in any way, in the order of the files, those that go last.
        settings: What differs for the fleet as a whole.
        unchanged: How many services are not touched.
        rolling: Names whose replicas get their new configuration one after the other.
    """

    services: tuple[ServiceChange, ...]
    settings: tuple[Difference, ...]
    unchanged: int
    rolling: tuple[str, ...] = ()

    def names(self, *actions: Action) -> tuple[str, ...]:
        """Return the services of which one of these becomes."""
        return tuple(change.name for change in self.services if change.action in actions)

    @property
    def summary(self) -> str:
        """Return one line for people."""
        counts = [(len(self.names(action)), word) for action, word in _COUNTED]
        said = ", ".join(f"{count} {word}" for count, word in counts if count)
        count = len(self.settings)
        settings = f"{count} setting{'s' if count > 1 else ''}" if count else ""
        return "; ".join(part for part in (said, settings) if part) or "nothing changed"


_COUNTED = (
    (Action.ADD, "added"),
    (Action.REMOVE, "removed"),
    (Action.RESTART, "restarted"),
    (Action.ROLL, "restarted in turn"),
    (Action.START, "started"),
    (Action.STOP, "stopped"),
    (Action.LIVE, "changed live"),
    (Action.LATER, "changed while down"),
)
_MCP = FieldClass(When.LIVE, "kept for the clients of the fleet")
_KEPT_DOWN = {
    DownReason.DISABLED: "disabled",
    DownReason.NOT_SELECTED: "not selected by --only",
    DownReason.OPERATOR: "stopped by hand",
    DownReason.DEMAND: "started on demand",
}


def plan_reload(
    old: Fleet, new: Fleet, services: Mapping[str, Service], down: Mapping[str, DownReason]
) -> ReloadPlan:
    """Work out what going over from one fleet to another does.

    Args:
        old: The fleet as applied.
        new: The fleet to go over to; `coming` in it are the replicas that have to wait for their turn.
        services: As they stand.
        down: Services that a fresh start would leave down, and why.
    """
    diff = diff_fleets(old.services, new.services)
    changes: list[ServiceChange] = []
    for name, spec in new.services.items():
        if name in diff.added:
            changes.append(_added(name, down.get(name, DownReason.NONE)))
        elif name in new.coming and old.coming.get(name) != new.coming[name]:
            found = differences(old.services[name], new.coming[name])
            changes.append(ServiceChange(name, Action.ROLL, "gets its new configuration in its turn", found))
        elif name in diff.changed:
            changes.append(_changed(old.services[name], spec, services.get(name), is_kept=name in down))
    changes += [ServiceChange(name, Action.REMOVE, "removed from the configuration") for name in diff.removed]
    settings = [
        Difference((name, *path), before, after, SETTING_FIELDS[name])
        for name in type(new.settings).model_fields
        for path, before, after in _walk((), getattr(old.settings, name), getattr(new.settings, name))
    ]
    settings += [
        Difference(("mcp", *path), before, after, _MCP) for path, before, after in _walk((), old.mcp, new.mcp)
    ]
    ours = visible(new.services)
    touched = sum(change.name in ours for change in changes)
    return ReloadPlan(
        services=tuple(changes),
        settings=tuple(settings),
        unchanged=len(ours) - touched,
        rolling=tuple(groups_of(new)),
    )


def differences(old: ServiceSpec, new: ServiceSpec) -> tuple[Difference, ...]:
    """Return every value in which two specs differ, each as deep as both have it."""
    return tuple(
        Difference((name, *path), before, after, class_of(name))
        for name in type(new).model_fields
        for path, before, after in _walk((), getattr(old, name), getattr(new, name))
    )


def _added(name: str, down: DownReason) -> ServiceChange:
    why = "new in the configuration"
    return ServiceChange(name, Action.ADD, f"{why}; stays down: {_KEPT_DOWN[down]}" if down else why)


def _changed(old: ServiceSpec, new: ServiceSpec, service: Service | None, *, is_kept: bool) -> ServiceChange:
    found = differences(old, new)
    if not needs_restart(old, new):
        return ServiceChange(new.name, Action.LIVE, "goes on", found)
    keys = [difference.key for difference in found if difference.field.when is When.RESTART]
    why = f"its configuration changed: {', '.join(keys[:_MOST_KEYS])}"
    if len(keys) > _MOST_KEYS:
        why += f" and {len(keys) - _MOST_KEYS} more"
    if old.enabled and not new.enabled:
        return ServiceChange(new.name, Action.STOP, "disabled in the configuration", found)
    if service is None or service.desired is Desired.UP:
        return ServiceChange(new.name, Action.RESTART, why, found)
    if service.down_reason is DownReason.DISABLED and new.enabled and not is_kept:
        return ServiceChange(new.name, Action.START, "enabled in the configuration", found)
    if service.down_reason is DownReason.DEMAND and not is_kept:
        return ServiceChange(new.name, Action.START, "starts with the fleet now", found)
    return ServiceChange(new.name, Action.LATER, "is down; holds from its next start", found)


_MOST_KEYS = 5  # that a reason names

_Found = tuple[tuple[str, ...], object, object]


def _walk(path: tuple[str, ...], old: object, new: object) -> Iterator[_Found]:
    """Yield (path, old, new) of what differs: into models and mappings, not into lists."""
    if old == new:
        return
    before, after = _members(old), _members(new)
    if before is None or after is None or type(old) is not type(new):
        yield path, _plain(old), _plain(new)
        return
    for key in (*before, *(key for key in after if key not in before)):
        yield from _walk((*path, key), before.get(key), after.get(key))


def _members(value: object) -> dict[str, object] | None:
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, object]", value).items()}
    return str(value) if isinstance(value, StrEnum) else value
