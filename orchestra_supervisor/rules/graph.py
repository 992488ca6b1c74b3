"""Dependencies: cycles, order, who is above and below, and whether a condition is met."""

from collections.abc import Iterable, Mapping

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Condition, Desired, Kind, State
from orchestra_supervisor.rules.service import Service

__all__ = [
    "LEAVING",
    "above",
    "below",
    "dependents_of",
    "find_cycle",
    "is_met",
    "start_order",
    "stop_ranks",
    "unmet_of",
]

LEAVING = "leaving"
"""What `unmet_of` calls a dependency that is up and stops as soon as its dependents are down: nobody
starts on top of it, but it is not lost yet."""
_ON_ITS_WAY = frozenset({State.STARTING, State.RUNNING})
_STARTED = frozenset({State.RUNNING, State.READY, State.UNHEALTHY})


def find_cycle(edges: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Return one cycle as [a, b, ..., a], or None. Edges to unknown names are passed over."""
    done: set[str] = set()
    for root in edges:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(root, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(name)
                done.add(name)
                continue
            if name in on_path:
                return [*path[path.index(name) :], name]
            if name in done:
                continue
            path.append(name)
            on_path.add(name)
            stack.append((name, True))
            stack.extend((child, False) for child in edges[name] if child in edges)
    return None


def dependents_of(specs: Mapping[str, ServiceSpec]) -> dict[str, tuple[str, ...]]:
    """Return for each service those that name it in depends_on, lower priority numbers first."""
    found: dict[str, list[str]] = {name: [] for name in specs}
    for name, spec in specs.items():
        for dependency in spec.depends_on:
            if dependency in found:
                found[dependency].append(name)
    return {name: tuple(sorted(names, key=lambda one: specs[one].priority)) for name, names in found.items()}


def _closure(names: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [name for name in names if name in edges]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(other for other in edges[name] if other in edges)
    return seen


def below(names: Iterable[str], specs: Mapping[str, ServiceSpec]) -> set[str]:
    """Return the names and everything that they depend on, directly or not."""
    return _closure(names, {name: tuple(spec.depends_on) for name, spec in specs.items()})


def above(names: Iterable[str], specs: Mapping[str, ServiceSpec]) -> set[str]:
    """Return the names and everything that depends on them, directly or not."""
    return _closure(names, dependents_of(specs))


def start_order(specs: Mapping[str, ServiceSpec]) -> list[str]:
    """Return all names, dependencies before dependents, lower priority numbers first among equals.

    The specs must have no cycle (`find_cycle`).
    """
    ranks = stop_ranks(specs)
    return sorted(specs, key=lambda name: (ranks[name], specs[name].priority, name))


def stop_ranks(specs: Mapping[str, ServiceSpec]) -> dict[str, int]:
    """Return each service's height: 0 without dependencies, else one more than its highest dependency.

    Stopping from the highest rank down stops every dependent before what it depends on.
    """
    ranks: dict[str, int] = {}
    for root in specs:
        stack = [root]
        while stack:
            name = stack[-1]
            deps = [dep for dep in specs[name].depends_on if dep in specs]
            missing = [dep for dep in deps if dep not in ranks]
            if missing:
                stack.extend(missing)
                continue
            ranks[name] = 1 + max((ranks[dep] for dep in deps), default=-1)
            stack.pop()
    return ranks


def is_met(condition: Condition, dependency: Service) -> bool:
    """Return whether a dependency meets a condition now. One that leaves or has ended meets nothing."""
    if (
        dependency.spec.schedule is not None
    ):  # it runs again and again: whatever is asked, its last run counts
        last = dependency.last
        return dependency.desired is Desired.UP and last is not None and last.success
    if dependency.listening or (dependency.spec.start_on == "connection" and dependency.state in _ON_ITS_WAY):
        return condition is not Condition.COMPLETED  # whoever connects waits, and is served
    if dependency.ending is not None or (dependency.run is not None and dependency.run.leader_ended):
        return False
    state, once = dependency.state, dependency.spec.kind is Kind.ONCE
    match condition:
        case Condition.STARTED:
            starting = (
                state is State.STARTING and dependency.run is not None and dependency.run.pid is not None
            )
            return starting or state in _STARTED or (once and state is State.COMPLETED)
        case Condition.READY:
            return state is State.COMPLETED if once else state is State.READY
        case Condition.COMPLETED:
            return state is State.COMPLETED


def unmet_of(spec: ServiceSpec, services: Mapping[str, Service]) -> tuple[tuple[str, str], ...]:
    """Return the dependencies of a service that do not meet their condition, each with its state."""
    found: list[tuple[str, str]] = []
    for name, wanted in spec.depends_on.items():
        dependency = services.get(name)
        if dependency is None:
            found.append((name, "unknown"))
        elif not is_met(wanted.condition, dependency):
            found.append((name, LEAVING if dependency.is_leaving else dependency.state.value))
    return tuple(found)
