"""Rolling updates: what a reload holds back until a replica has its turn, and how far a roll has brought it.

A fleet that is being updated says two things of a replica: in `coming` what it is to be, in `services`
what it is. On disk `services` stays what it was when the roll began, which is what a replica falls back to.
"""

import hashlib
from collections.abc import Mapping

from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.model.states import Desired
from orchestra_supervisor.rules.diff import needs_restart, run_digest
from orchestra_supervisor.rules.replicas import group_of
from orchestra_supervisor.rules.rolling import Roll
from orchestra_supervisor.rules.service import Service

__all__ = ["digest_of", "fallbacks", "groups_of", "reached", "staged"]


def groups_of(fleet: Fleet) -> dict[str, list[str]]:
    """Return which replicas of which name something is coming for, by their numbers."""
    found: dict[str, list[str]] = {}
    for name, spec in fleet.coming.items():
        found.setdefault(group_of(spec), []).append(name)
    return found


def digest_of(fleet: Fleet, group: str, *, is_update: bool = True) -> str:
    """Return 12 hex digits that tell what is coming for a name; empty where nothing is.

    Args:
        fleet: Says what is coming.
        group: The name.
        is_update: False for a roll that brings nothing new; its digest is empty.
    """
    names = groups_of(fleet).get(group, []) if is_update else []
    text = ",".join(f"{name}={run_digest(fleet.coming[name])}" for name in sorted(names))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12] if names else ""


def staged(old: Fleet, new: Fleet, services: Mapping[str, Service]) -> Fleet:
    """Return a fleet in which replicas that are updated one after the other are still what they were.

    A roll that goes on towards the same configuration goes on.

    Args:
        old: The fleet that runs, as far as its rolls have come.
        new: The fleet as the files say now.
        services: How the services stand; one that is down needs no roll.
    """
    same = {
        group
        for group, names in groups_of(old).items()
        if all(new.services.get(name) == old.coming[name] for name in names)
    }
    held: dict[str, ServiceSpec] = {}
    coming: dict[str, ServiceSpec] = {}
    for name, spec in new.services.items():
        before, service = old.services.get(name), services.get(name)
        group = new.groups.get(spec.replica.group) if spec.replica is not None else None
        if group is None or group.update != "rolling" or before is None or service is None:
            continue
        if group_of(spec) in same and name in old.coming:
            held[name], coming[name] = before, spec
        elif service.desired is Desired.UP and spec.enabled and needs_restart(before, spec):
            # Whom it needs and how many there are is a matter of the fleet, and holds at once.
            held[name] = before.model_copy(update={"depends_on": spec.depends_on, "replica": spec.replica})
            coming[name] = spec
    if not coming:
        return new
    return new.model_copy(update={"services": {**new.services, **held}, "coming": coming})


def reached(fleet: Fleet, roll: Roll) -> Fleet:
    """Return a fleet as far as a roll has brought it; one that has failed brought what is done alone."""
    names = roll.done if roll.failed or not roll.update else roll.turned
    brought = {name: fleet.coming[name] for name in names if roll.update and name in fleet.coming}
    return fleet.model_copy(update={"services": {**fleet.services, **brought}})


def fallbacks(fleet: Fleet, running: Fleet, known: Mapping[str, ServiceSpec]) -> dict[str, ServiceSpec]:
    """Return what the replicas of a fleet for which something is coming fall back to.

    Args:
        fleet: The fleet that is to be kept.
        running: The fleet that runs; a roll of the same configuration goes on with its fallbacks.
        known: Those fallbacks.
    """
    return {
        name: known[name]
        for group, names in groups_of(fleet).items()
        if digest_of(fleet, group) == digest_of(running, group)
        for name in names
        if name in known
    }
