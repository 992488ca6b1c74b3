"""The graph as text: a tree for people, and the language of Graphviz."""

from orchestra_supervisor.cli.depgraph import Graph, Need, Node
from orchestra_supervisor.cli.render import glyph_of, style_of
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip, make_visible

__all__ = ["dot_lines", "tree_lines"]

_BRANCHES = ("├─ ", "└─ ", "│  ", "   ")
_ASCII_BRANCHES = ("|- ", "`- ", "|  ", "   ")
_DOT_STYLES = {"started": "dotted", "completed": "dashed"}


def tree_lines(graph: Graph, terminal: Terminal) -> list[str]:
    """Return a tree: below each service what it needs. What stands already is not unfolded again.

    Args:
        graph: What to draw.
        terminal: Where it will be shown.
    """
    branches = _BRANCHES if terminal.is_unicode else _ASCII_BRANCHES
    lines: list[str] = []
    seen: set[str] = set()
    # All of them as roots, those that nobody needs first: so nobody is left out, whatever the graph.
    roots = list(dict.fromkeys([*graph.tops(), *graph.nodes]))
    # (node, why it is needed, what stands before its line, what stands before the lines below it)
    pending: list[tuple[Node, Need | None, str, str]] = []
    for root in roots:
        if root in seen:
            continue
        pending.append((graph.nodes[root], None, "", ""))
        while pending:
            node, need, lead, below = pending.pop()
            is_known = node.name in seen and bool(node.needs)
            lines.append(_line(node, need, lead, terminal, is_known=is_known))
            if node.name in seen:
                continue
            seen.add(node.name)
            last = len(node.needs) - 1
            for index in range(last, -1, -1):
                one = node.needs[index]
                branch, space = (branches[1], branches[3]) if index == last else (branches[0], branches[2])
                pending.append((graph.nodes[one.name], one, below + branch, below + space))
    return lines


def _line(node: Node, need: Need | None, lead: str, terminal: Terminal, *, is_known: bool) -> str:
    width = terminal.columns
    words = [make_visible(node.name)]
    if node.state:
        words.insert(0, glyph_of(node.state, terminal))
    head = lead + " ".join(words)
    notes: list[str] = []
    if need is not None and need.condition:
        notes.append(f"needed {need.condition}")
    if need is not None and not need.is_met:
        notes.append("waited for")
    if is_known:
        notes.append("what it needs stands above")
    plain = "  ".join(part for part in (head, node.state, ", ".join(notes)) if part)
    if width is not None and len(plain) > width:
        return clip(plain, width, terminal.mark)
    style = style_of(node.state)
    painted = terminal.paint(node.state, *style)
    note = terminal.paint(", ".join(notes), "yellow" if need is not None and not need.is_met else "dim")
    return "  ".join(part for part in (head, painted, note) if part)


def dot_lines(graph: Graph) -> list[str]:
    """Return the graph in the language of Graphviz; an arrow leads from a service to what it needs."""
    lines = ["digraph orchestra {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for node in graph.nodes.values():
        label = _quoted(node.name, node.state) if node.state else _quoted(node.name)
        lines.append(f"  {_quoted(node.name)} [label={label}];")
    for node in graph.nodes.values():
        for need in node.needs:
            style = _DOT_STYLES.get(need.condition, "solid")
            label = f", label={_quoted(need.condition)}" if need.condition else ""
            lines.append(f"  {_quoted(node.name)} -> {_quoted(need.name)} [style={style}{label}];")
    return [*lines, "}"]


def _quoted(*lines: str) -> str:
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
