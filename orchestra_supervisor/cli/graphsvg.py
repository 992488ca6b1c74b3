"""The graph as a picture: layers from left to right, what is needed before what needs it.

States are told by a word, a sign and a colour (those of Okabe and Ito, which people with any colour vision
tell apart); boxes bring their own ground, and lines are of a grey that shows on light and on dark.
"""

from itertools import pairwise

from orchestra_supervisor.cli.depgraph import Graph

__all__ = ["svg_lines"]

_COLORS = {
    "ready": "#009e73",
    "completed": "#0072b2",
    "starting": "#56b4e9",
    "running": "#56b4e9",
    "waiting": "#f0e442",
    "unhealthy": "#e69f00",
    "backoff": "#e69f00",
    "stopping": "#cc79a7",
    "failed": "#d55e00",
}
_OTHER = "#999999"
_SIGNS = {
    "stopped": "○",
    "waiting": "◌",
    "starting": "◔",
    "running": "◑",
    "ready": "●",
    "unhealthy": "▲",
    "backoff": "↻",
    "stopping": "◒",
    "completed": "✓",
    "failed": "✗",
}
_DASHES = {"started": "2 4", "completed": "8 4"}
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
_CHAR = 7.8  # width of a sign at 13 px in the fonts named below
_HEIGHT, _ROW, _GAP, _MARGIN, _BAR = 40, 60, 90, 20, 6
_LEGEND = (("started", "needed started"), ("ready", "needed ready"), ("completed", "needed completed"))
_SWEEPS = 4
_WAYS = 10_000  # places of lines between boxes
_Place = tuple[float, float, float]
"""Left and upper edge, and width."""


def svg_lines(graph: Graph) -> list[str]:
    """Return an SVG document."""
    routes = _routes(graph)
    columns = _ordered(graph, routes)
    places: dict[str, _Place] = {}
    left = float(_MARGIN)
    for column in columns:
        width = max((_width(graph, name) for name in column if name in graph.nodes), default=0.0)
        for row, name in enumerate(column):
            places[name] = (left, float(_MARGIN + row * _ROW), width)
        left += width + _GAP
    rows = max((len(column) for column in columns), default=0)
    bottom = _MARGIN + max(1, rows) * _ROW
    width = max(left - _GAP + _MARGIN, 520)
    body = [*_edges(graph, routes, places), *_boxes(graph, places), *_legend(bottom)]
    height = bottom + 30
    looks = f'font-size="13" font-family="{_FONTS}" fill="#1a1a1a"'
    size = f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {looks}>',
        "<title>Services and what they need</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" orient="auto"',
        ' markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9">',
        '<path d="M0 0 L8 4 L0 8 z" fill="#808080"/></marker></defs>',
        *body,
        "</svg>",
    ]


def _routes(graph: Graph) -> dict[tuple[str, str], list[str]]:
    """Return the way of each line, from what is needed to who needs it.

    A line over several layers goes through a place of its own in each of those between, so that it never
    runs behind a box. The names of such places hold a NUL, which no service's does.
    """
    layer = {name: index for index, names in enumerate(graph.layers()) for name in names}
    routes: dict[tuple[str, str], list[str]] = {}
    room = _WAYS
    for node in graph.nodes.values():
        for need in node.needs:
            between = range(layer[need.name] + 1, layer[node.name])
            room -= len(between)
            if room < 0:  # a picture of this nobody can read; but it is drawn in time
                between = range(0)
            ways = [f"{need.name}\0{node.name}\0{index}" for index in between]
            routes[need.name, node.name] = [need.name, *ways, node.name]
    return routes


def _ordered(graph: Graph, routes: dict[tuple[str, str], list[str]]) -> list[list[str]]:
    """Return the layers, each in the order of the middle of its neighbours, so that few lines cross."""
    layers = [sorted(names) for names in graph.layers()]
    left: dict[str, list[str]] = {}
    right: dict[str, list[str]] = {}
    for route in routes.values():
        for way in route[1:-1]:
            layers[int(way.rpartition("\0")[2])].append(way)
        for one, other in pairwise(route):
            right.setdefault(one, []).append(other)
            left.setdefault(other, []).append(one)
    for sweep in range(_SWEEPS):
        row = {name: index for names in layers for index, name in enumerate(names)}
        near = left if sweep % 2 == 0 else right

        def middle(
            name: str, near: dict[str, list[str]] = near, row: dict[str, int] = row
        ) -> tuple[float, str]:
            others = near.get(name, [name])
            return sum(row[other] for other in others) / len(others), name

        layers = [sorted(names, key=middle) for names in layers]
    return layers


def _width(graph: Graph, name: str) -> float:
    state = graph.nodes[name].state
    return max(len(name), len(state) + 2) * _CHAR + 3 * _BAR + 10


def _edges(graph: Graph, routes: dict[tuple[str, str], list[str]], places: dict[str, _Place]) -> list[str]:
    lines: list[str] = []
    for node in graph.nodes.values():
        for need in node.needs:
            stroke, width = ("#808080", 1.5) if need.is_met else ("#d55e00", 2.5)
            said = f"{node.name} needs {need.name}" + (f" {need.condition}" if need.condition else "")
            said += "" if need.is_met else ", and waits for it"
            path = _path([places[way] for way in routes[need.name, node.name]])
            lines.append(
                f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"'
                f'{_dash(need.condition)} marker-end="url(#tip)"><title>{_escaped(said)}</title></path>'
            )
    return lines


def _path(stops: list[_Place]) -> str:
    """Return a line from the right side of the first place, through the others, to the left of the last."""
    x, y, width = stops[0]
    x, y = x + width, y + _HEIGHT / 2
    parts = [f"M{x:.0f} {y:.0f}"]
    for index, (left, top, width) in enumerate(stops[1:], 2):
        bend, to = (left - x) / 2, top + _HEIGHT / 2
        parts.append(f"C{x + bend:.0f} {y:.0f} {left - bend:.0f} {to:.0f} {left:.0f} {to:.0f}")
        if index < len(stops):
            parts.append(f"h{width:.0f}")
        x, y = left + width, to
    return " ".join(parts)


def _boxes(graph: Graph, places: dict[str, _Place]) -> list[str]:
    lines: list[str] = []
    for name, node in graph.nodes.items():
        x, y, width = places[name]
        state = node.state
        color = _COLORS.get(state, _OTHER)
        text = x + 2 * _BAR
        corner = f'x="{x:.0f}" y="{y:.0f}" height="{_HEIGHT}"'
        lines += [
            f'<rect {corner} width="{width:.0f}" fill="#ffffff" stroke="#808080"/>',
            f'<rect {corner} width="{_BAR}" fill="{color}"/>',
            f'<text x="{text:.0f}" y="{y + 16:.0f}" font-weight="bold">{_escaped(name)}</text>',
        ]
        if state:
            word = f"{_SIGNS.get(state, '?')} {state}"
            lines.append(f'<text x="{text:.0f}" y="{y + 33:.0f}">{_escaped(word)}</text>')
    return lines


def _legend(bottom: float) -> list[str]:
    lines: list[str] = []
    y = bottom + 10
    for index, (condition, text) in enumerate(_LEGEND):
        x = _MARGIN + index * 165
        lines += [
            f'<path d="M{x} {y:.0f} h30" stroke="#808080" stroke-width="1.5"{_dash(condition)}/>',
            f'<text x="{x + 36}" y="{y + 4:.0f}" font-size="11" fill="#808080">{text}</text>',
        ]
    return lines


def _dash(condition: str) -> str:
    return f' stroke-dasharray="{_DASHES[condition]}"' if condition in _DASHES else ""


def _escaped(text: str) -> str:
    # XML has no way to write a control character; a name of ours has none.
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
