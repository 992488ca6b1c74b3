"""Replicas as a group: who belongs to it, and what may be said of how many there are."""

import difflib
from collections.abc import Mapping

from orchestra_supervisor.model.errors import ConflictError, InvalidRequest, UnknownService
from orchestra_supervisor.model.replicas import MAX_REPLICAS, GroupSpec
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.rules.diff import changed_fields

__all__ = ["check_counts", "check_scaled", "group_of", "members_of", "names_for_several", "rescaled"]


def group_of(spec: ServiceSpec) -> str:
    """Return the name that a service shares with its replicas; its own where it has none."""
    return spec.replica.group if spec.replica is not None else spec.name


def members_of(fleet: Fleet) -> dict[str, tuple[str, ...]]:
    """Return the replicas of each group, by number; a group may have none."""
    found: dict[str, list[tuple[int, str]]] = {group: [] for group in fleet.groups}
    for name, spec in fleet.services.items():
        if spec.replica is not None:
            found.setdefault(spec.replica.group, []).append((spec.replica.number, name))
    return {group: tuple(name for _, name in sorted(names)) for group, names in found.items()}


def names_for_several(fleet: Fleet) -> dict[str, tuple[str, ...]]:
    """Return what stands for several services: names with replicas, and `tag:WORD` for each tag."""
    tagged: dict[str, list[str]] = {}
    for name, spec in fleet.services.items():
        for tag in spec.tags:
            tagged.setdefault(f"tag:{tag}", []).append(name)
    return members_of(fleet) | {tag: tuple(names) for tag, names in tagged.items()}


def check_counts(counts: Mapping[str, int], fleet: Fleet) -> None:
    """Make sure that numbers of replicas can be asked for.

    Raises:
        InvalidRequest: No group is named, a number is out of bounds, or a service has no replicas.
        UnknownService: There is no such name.
    """
    if not counts:
        raise InvalidRequest("no service named", hint="orchestra scale web=3")
    for group, count in counts.items():
        if not 0 <= count <= MAX_REPLICAS:
            message = f"{group}={count}: a service has 0 to {MAX_REPLICAS} replicas"
            raise InvalidRequest(message, hint=f"orchestra scale {group}=3")
        if group in fleet.groups:
            continue
        if group in fleet.services:
            spec = fleet.services[group]
            base = group_of(spec)
            hint = (
                f"orchestra scale {base}={count}" if base != group else f'give it "replicas": {max(count, 1)}'
            )
            raise InvalidRequest(f"{group} is one service, not a name with replicas", hint=hint)
        near = difflib.get_close_matches(group, fleet.groups, n=3)
        known = ", ".join(sorted(fleet.groups)) or "none"
        hint = f"did you mean {' or '.join(near)}?" if near else f"services with replicas: {known}"
        raise UnknownService(f"no service {group!r} with replicas", hint=hint, name=group, nearest=near)


def rescaled(fleet: Fleet, counts: Mapping[str, int]) -> dict[str, GroupSpec]:
    """Return the groups of a fleet with other numbers of replicas."""
    return {
        name: group.model_copy(update={"count": counts[name]}) if name in counts else group
        for name, group in fleet.groups.items()
    }


def check_scaled(old: Fleet, new: Fleet, counts: Mapping[str, int]) -> None:
    """Make sure that between two fleets the numbers of replicas changed and nothing else.

    Raises:
        ConflictError: The configuration files say something new: that is what a reload is for.
    """
    members = {name for fleet in (old, new) for names in members_of(fleet).values() for name in names}
    changed = [
        name for name, count in counts.items() if name not in new.groups or new.groups[name].count != count
    ]
    for name in old.services.keys() | new.services.keys():
        before, after = old.services.get(name), new.services.get(name)
        spec = before or after
        if before is None or after is None:
            if spec is None or group_of(spec) not in counts:
                changed.append(name)
            continue
        fields = set(changed_fields(before, after)) - {"replica"}
        if _other_needs(before, members) == _other_needs(after, members):
            fields.discard("depends_on")
        if fields:
            changed.append(name)
    if changed:
        raise ConflictError(
            f"the configuration files have changed since they were applied: {', '.join(sorted(changed)[:8])}",
            hint="orchestra reload, then scale",
            changed=sorted(changed),
        )


def _other_needs(spec: ServiceSpec, members: set[str]) -> dict[str, object]:
    return {name: needed for name, needed in spec.depends_on.items() if name not in members}
