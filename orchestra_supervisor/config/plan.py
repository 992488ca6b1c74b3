"""A reload's plan as it is told: every value with its place, and no secret in any of them."""

import json
from dataclasses import dataclass
from typing import cast

from orchestra_supervisor.config.environment import SECRET_REFERENCE
from orchestra_supervisor.config.findings import Location, is_sensitive, shown
from orchestra_supervisor.config.load import Sources
from orchestra_supervisor.config.places import place_of, place_of_setting
from orchestra_supervisor.rules.diff import When
from orchestra_supervisor.rules.reload import Action, Difference, ReloadPlan, ServiceChange

__all__ = ["FieldNote", "PlanReport", "ServiceNote", "report_plan", "text_of"]

_HIDDEN = "***"
_UNSET = "(not set)"


@dataclass(frozen=True, slots=True)
class FieldNote:
    """One value that differs.

    Attributes:
        field: Its key, dotted.
        old: As applied, fit to be shown.
        new: As the files have it, likewise.
        when: From when on it holds: `restart`, `live`, `next_up`.
        why: Why then.
        where: Where the new value stands; an empty path: nowhere.
    """

    field: str
    old: str
    new: str
    when: str
    why: str
    where: Location

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "field": self.field,
            "old": self.old,
            "new": self.new,
            "when": self.when,
            "why": self.why,
            "where": _place(self.where),
        }


@dataclass(frozen=True, slots=True)
class ServiceNote:
    """What becomes of one service."""

    name: str
    action: str
    why: str
    where: Location
    fields: tuple[FieldNote, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "action": self.action,
            "why": self.why,
            "where": _place(self.where),
            "fields": [field.to_dict() for field in self.fields],
        }


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What a reload does, or did.

    Attributes:
        services: Those that change in any way.
        settings: What differs for the fleet as a whole.
        unchanged: How many services are not touched.
        summary: One line for people.
        rolling: Names whose replicas get their new configuration one after the other.
    """

    services: tuple[ServiceNote, ...] = ()
    settings: tuple[FieldNote, ...] = ()
    unchanged: int = 0
    summary: str = "nothing changed"
    rolling: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to do: a setting that waits for the next `up` is nothing to do."""
        return not self.services and all(field.when == When.NEXT_UP for field in self.settings)

    def names(self, *actions: Action) -> list[str]:
        """Return the services of which one of these becomes."""
        return [note.name for note in self.services if note.action in actions]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of `plan` and `reload`."""
        rest = (Action.RESTART, Action.ROLL, Action.START, Action.STOP, Action.LIVE, Action.LATER)
        return {
            "summary": self.summary,
            "added": self.names(Action.ADD),
            "removed": self.names(Action.REMOVE),
            "changed": self.names(*rest),
            "restarted": self.names(Action.RESTART),
            "unchanged": self.unchanged,
            "services": [note.to_dict() for note in self.services],
            "settings": [field.to_dict() for field in self.settings],
        }


def report_plan(plan: ReloadPlan, sources: Sources) -> PlanReport:
    """Say a plan.

    Args:
        plan: What is to be done.
        sources: Of the files that the new fleet was read from.
    """
    return PlanReport(
        services=tuple(_service(change, sources) for change in plan.services),
        settings=tuple(
            _field(one, place_of_setting(sources, one.path[0]) if one.path[0] != "mcp" else Location(""))
            for one in plan.settings
        ),
        unchanged=plan.unchanged,
        summary=plan.summary,
        rolling=plan.rolling,
    )


def text_of(path: tuple[str, ...], value: object) -> str:
    """Return a value as it may be shown: what looks like a secret is `***`, references to secrets are not.

    Args:
        path: Keys down to it; the last one decides whether it is shown at all.
        value: Plain.
    """
    if value is None:
        return _UNSET
    if value == "":
        return '""'
    name = path[-1] if path else ""
    if "headers" in path:
        return _HIDDEN
    if isinstance(value, str) and SECRET_REFERENCE.fullmatch(value):
        return value  # of letters, digits and a few marks
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        parts = [f"{key}: {text_of((*path, key), member)}" for key, member in members.items()]
        return shown("{" + ", ".join(parts) + "}")
    if is_sensitive(name) and path[0] in {"env", "mcp", "supervisor"}:
        return _HIDDEN
    if isinstance(value, list):
        return shown(_line(cast("list[object]", value), path))
    if isinstance(value, float):
        return f"{value:g}"
    return shown(value if isinstance(value, str) else json.dumps(value))


def _line(items: list[object], path: tuple[str, ...]) -> str:
    """Return a list on one line; an argument vector as a shell would take it, without its quoting rules."""
    if path[-1:] == ("argv",):
        return " ".join(json.dumps(word) if " " in str(word) or not word else str(word) for word in items)
    return "[" + ", ".join(text_of(path, item) for item in items) + "]"


def _service(change: ServiceChange, sources: Sources) -> ServiceNote:
    name = change.name
    fields = tuple(_field(one, place_of(sources, name, one.path)) for one in change.differences)
    return ServiceNote(name, change.action.value, change.why, sources.where(name), fields)


def _field(one: Difference, where: Location) -> FieldNote:
    old, new = text_of(one.path, one.old), text_of(one.path, one.new)
    return FieldNote(one.key, old, new, one.field.when.value, one.field.why, where)


def _place(where: Location) -> dict[str, object] | None:
    return where.to_dict() if where.path else None
