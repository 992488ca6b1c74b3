"""Many readings to one set of services: who is believed where two files name one service.

The most explicit dialect is believed as a whole: native, then `orchestra_supervisor_config.json`, then the
current `orchestra_autostart.json`, then its older form; within one dialect, the file that was given
first. Nothing is mixed from two descriptions; what the other one says differently is drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestra_supervisor.config.draft import Origin, ServiceDraft
from orchestra_supervisor.config.findings import Location
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import ServiceSpec

__all__ = ["Candidate", "Merged", "merge"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file's description of one service.

    Attributes:
        spec: What it comes to.
        draft: How it was written.
        dialect: Name of the dialect.
        head: What its file says for all services.
    """

    spec: ServiceSpec
    draft: ServiceDraft
    dialect: str
    head: Origin

    def where(self, *path: str | int) -> Location:
        """Return the place of a value, given by its native key."""
        if path[:1] == ("env",) and not self.draft.origin.has(path):
            shared = ("settings", "environment", *path[1:])
            if self.head.has(shared):
                return self.head.where(shared)
        return self.draft.origin.where(path, key=not path)


@dataclass(frozen=True, slots=True)
class Merged:
    """The services that hold, in order, and the descriptions that were not used."""

    services: dict[str, Candidate]
    unused: tuple[tuple[Candidate, Candidate], ...]
    """Pairs of (believed, not used)."""
    groups: dict[str, GroupSpec]
    """The services with replicas that hold."""


def merge(candidates: Sequence[Candidate]) -> Merged:
    """Choose one description for each service.

    Args:
        candidates: In order of belief.
    """
    services: dict[str, Candidate] = {}
    groups: dict[str, GroupSpec] = {}
    believed: dict[str, Candidate] = {}
    unused: list[tuple[Candidate, Candidate]] = []
    for candidate in candidates:
        replica, group = candidate.spec.replica, candidate.draft.group
        first = believed.setdefault(replica.group if replica else candidate.spec.name, candidate)
        if first.draft.origin is not candidate.draft.origin:
            if replica is None or replica.number == 1:
                unused.append((first, candidate))
            continue
        if replica is not None and group is not None:
            groups[replica.group] = group
        if replica is None or replica.number <= replica.count:
            services.setdefault(candidate.spec.name, candidate)
    return Merged(services, tuple(unused), groups)
