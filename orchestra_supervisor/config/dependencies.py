"""Dependencies between services: that each names one, and that they lead in no circle."""

import graphlib
import itertools
from collections.abc import Collection, Mapping

from orchestra_supervisor.config.findings import Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.judge import nearest
from orchestra_supervisor.config.merge import Candidate
from orchestra_supervisor.model.states import Condition, Kind

__all__ = ["check_dependencies"]

MAX_CYCLES = 20
"""Circles that are reported; more would only repeat them."""


def check_dependencies(services: Mapping[str, Candidate], known: Collection[str], findings: Findings) -> None:
    """Look at every dependency.

    Args:
        services: The services that hold.
        known: Ids that any file describes, faulty ones included: those have errors of their own.
        findings: Gets what is found.
    """
    edges: dict[str, list[str]] = {}
    for name, candidate in services.items():
        edges[name] = []
        for target in candidate.spec.depends_on:
            if target in services:
                edges[name].append(target)
                _check_edge(candidate, services[target], findings)
            elif target not in known:
                _unknown(candidate, target, known, findings)
    for cycle in _cycles(edges):
        places = tuple(_edge_place(services[a], b) for a, b in itertools.pairwise(cycle))
        findings.add(
            Finding(
                Severity.ERROR,
                "dependency.cycle",
                f"dependencies lead in a circle: {' -> '.join(cycle)}",
                places,
                "depends_on",
                tuple(f"{a} needs {b}" for a, b in itertools.pairwise(cycle)),
                "take one of them out",
                cycle[0],
            )
        )


def _edge_place(candidate: Candidate, target: str) -> Location:
    origin = candidate.draft.origin
    group = target.rpartition("@")[0]  # a replica is often needed by the name of all of them
    for key in ("depends_on", "dependencies"):
        for name in (target, group):
            node, taken = origin.node.find(origin.written((key, name)))
            if taken == 2:
                return node.key_location
    return candidate.where("depends_on")


def _unknown(candidate: Candidate, target: str, known: Collection[str], findings: Findings) -> None:
    name = candidate.spec.name
    near = nearest(target, known)
    findings.add(
        Finding(
            Severity.ERROR,
            "dependency.unknown",
            f"service {name} depends on {shown(target)!r}, which no file describes",
            (_edge_place(candidate, target),),
            "depends_on",
            (shown(target),),
            f"did you mean {near!r}?"
            if near
            else "add the service, or give the file that has it with -c FILE",
            name,
        )
    )


def _check_edge(candidate: Candidate, target: Candidate, findings: Findings) -> None:
    name, needed = candidate.spec.name, target.spec
    place = _edge_place(candidate, needed.name)
    condition = candidate.spec.depends_on[needed.name].condition

    def note(severity: Severity, code: str, message: str, hint: str = "") -> None:
        where = (place, target.where())
        findings.add(Finding(severity, code, message, where, "depends_on", hint=hint, service=name))

    if candidate.draft.origin.source != target.draft.origin.source:
        other = target.draft.origin.source.shown
        note(
            Severity.INFO,
            "dependency.other_file",
            f"service {name} depends on {needed.name}, which is described in {shown(other)}",
            "give both files together",
        )
    if not needed.enabled and candidate.spec.enabled:
        note(
            Severity.WARNING,
            "dependency.disabled",
            f"service {name} depends on {needed.name}, which is not enabled and must be started by hand",
            f"enable {needed.name}, or take the dependency out",
        )
    if condition is Condition.COMPLETED and needed.kind is Kind.DAEMON:
        note(
            Severity.WARNING,
            "dependency.never_completed",
            f"service {name} waits until {needed.name} has completed, and a daemon is not meant to",
            f'wait for "ready", or make {needed.name} a once job',
        )


def _cycles(edges: Mapping[str, list[str]]) -> list[list[str]]:
    """Return circles, each from a service back to itself; every circle loses an edge once it is reported."""
    graph = {name: list(targets) for name, targets in edges.items()}
    found: list[list[str]] = []
    while len(found) < MAX_CYCLES:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            names: list[str] = error.args[1]
            cycle = list(reversed(names))  # from a service to what it needs
            found.append(cycle)
            graph[cycle[0]].remove(cycle[1])
        else:
            break
    return found
