"""Who needs whom: from the fleet as it was applied, and from the daemon where one answers.

The daemon tells states; which condition a dependency has to meet stands in `fleet.json`, which the owner
can read also while the fleet is down.
"""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.words import nearest
from orchestra_supervisor.model.errors import UnknownService

__all__ = ["Graph", "Need", "Node", "applied_graph", "graph_of"]


class Need:
    """A dependency.

    Args:
        name: Of the service that is needed.
        condition: `started`, `ready` or `completed`; empty: not known.
        is_met: False while somebody waits for it.
    """

    __slots__ = ("condition", "is_met", "name")

    def __init__(self, name: str, condition: str = "", *, is_met: bool = True) -> None:
        self.name = name
        self.condition = condition
        self.is_met = is_met


class Node:
    """A service.

    Args:
        name: Its name.
        state: Its state; empty: not known.
        needs: What it depends on.
    """

    __slots__ = ("name", "needs", "state")

    def __init__(self, name: str, state: str, needs: list[Need]) -> None:
        self.name = name
        self.state = state
        self.needs = needs


class Graph:
    """The services of a fleet by name, dependencies that name nobody left out."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.name: node for node in nodes}
        for node in self.nodes.values():
            node.needs = [need for need in node.needs if need.name in self.nodes]

    def tops(self) -> list[str]:
        """Return those that nobody needs."""
        needed = {need.name for node in self.nodes.values() for need in node.needs}
        return [name for name in self.nodes if name not in needed]

    def layers(self) -> list[list[str]]:
        """Return layers, each of which needs only earlier ones; a cycle, which no daemon runs, comes last."""
        open_needs = {name: {need.name for need in node.needs} for name, node in self.nodes.items()}
        needed_by = self._needed_by()
        layers: list[list[str]] = []
        layer = [name for name, needs in open_needs.items() if not needs]
        while layer:
            layers.append(layer)
            following: list[str] = []
            for name in layer:
                del open_needs[name]
                for other in needed_by[name]:
                    open_needs[other].discard(name)
                    if not open_needs[other]:
                        following.append(other)
            layer = following
        return [*layers, list(open_needs)] if open_needs else layers

    def _needed_by(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {name: set() for name in self.nodes}
        for name, node in self.nodes.items():
            for need in node.needs:
                found[need.name].add(name)
        return found

    def around(self, wanted: list[str]) -> "Graph":
        """Return the named services (globs, `all`) with what they need and what needs them.

        Raises:
            UnknownService: A name is nobody's.
        """
        chosen: set[str] = set()
        for word in wanted:
            found = {name for name in self.nodes if word == "all" or fnmatchcase(name, word)}
            if not found:
                close = nearest(word, self.nodes)
                hint = f"did you mean {close}?" if close else f"services: {', '.join(self.nodes) or 'none'}"
                raise UnknownService(f"no service {word!r}", hint=hint)
            chosen |= found
        below = {name: {need.name for need in node.needs} for name, node in self.nodes.items()}
        kept = _reach(chosen, below) | _reach(chosen, self._needed_by())
        return Graph(node for name, node in self.nodes.items() if name in kept)


def _reach(start: set[str], edges: dict[str, set[str]]) -> set[str]:
    found, pending = set(start), list(start)
    while pending:
        new = edges[pending.pop()] - found
        found |= new
        pending += new
    return found


def applied_graph(home: Path) -> Graph | None:
    """Return the graph of the fleet that was last applied, without states; None where it cannot be read."""
    try:
        services: dict[str, dict[str, dict[str, dict[str, object]]]] = json.loads(
            (home / "fleet.json").read_text(encoding="utf-8")
        )["services"]
        return Graph(
            Node(
                name,
                "",
                [Need(need, str(how.get("condition", ""))) for need, how in spec["depends_on"].items()],
            )
            for name, spec in services.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def graph_of(status: StatusView, applied: Graph | None) -> Graph:
    """Return the graph as the daemon has it, with the conditions of the applied fleet where known."""
    known = applied.nodes if applied is not None else {}
    nodes: list[Node] = []
    for service in status.services:
        conditions = (
            {need.name: need.condition for need in known[service.name].needs} if service.name in known else {}
        )
        needs = [
            Need(name, conditions.get(name, ""), is_met=name not in service.waiting_for)
            for name in service.depends_on
        ]
        nodes.append(Node(service.name, service.state, needs))
    return Graph(nodes)
