"""The graph as a picture: layers from left to right, what is needed before what needs it.

States are told by a word, a sign and a colour (those of Okabe and Ito, which people with any colour vision
tell apart); boxes bring their own ground, and lines are of a grey that shows on light and on dark.
"""

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


def svg_lines(graph: Graph) -> list[str]:
    """Return an SVG document."""
    columns = _ordered(graph)
    places: dict[str, tuple[float, float, float]] = {}
    left = float(_MARGIN)
    for column in columns:
        width = max((_width(graph, name) for name in column), default=0.0)
        for row, name in enumerate(column):
            places[name] = (left, _MARGIN + row * _ROW, width)
        left += width + _GAP
    rows = max((len(column) for column in columns), default=0)
    bottom = _MARGIN + max(1, rows) * _ROW
    width = max(left - _GAP + _MARGIN, 480)
    body = [*_edges(graph, places), *_boxes(graph, places), *_legend(bottom)]
    height = bottom + 30
    looks = f'font-size="13" font-family="{_FONTS}" fill="#1a1a1a"'
    size = f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {looks}>',
        "<title>Services and what they need</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" orient="auto"',
        ' markerWidth="8" markerHeight="8">',
        '<path d="M0 0 L8 4 L0 8 z" fill="#808080"/></marker></defs>',
        *body,
        "</svg>",
    ]


def _ordered(graph: Graph) -> list[list[str]]:
    """Return the layers, each in the order of the middle of its neighbours, so that few lines cross."""
    layers = [sorted(layer) for layer in graph.layers()]
    needs = {name: [need.name for need in node.needs] for name, node in graph.nodes.items()}
    needed_by: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for name, others in needs.items():
        for other in others:
            needed_by[other].append(name)
    for sweep in range(_SWEEPS):
        row = {name: index for layer in layers for index, name in enumerate(layer)}
        near = needs if sweep % 2 == 0 else needed_by

        def middle(
            name: str, near: dict[str, list[str]] = near, row: dict[str, int] = row
        ) -> tuple[float, str]:
            others = near[name]
            return (sum(row[other] for other in others) / len(others) if others else row[name], name)

        layers = [sorted(layer, key=middle) for layer in layers]
    return layers


def _width(graph: Graph, name: str) -> float:
    state = graph.nodes[name].state
    return max(len(name), len(state) + 2) * _CHAR + 3 * _BAR + 10


def _edges(graph: Graph, places: dict[str, tuple[float, float, float]]) -> list[str]:
    lines: list[str] = []
    for node in graph.nodes.values():
        for need in node.needs:
            x1, y1, width = places[need.name]
            x2, y2, _ = places[node.name]
            x1, y1, y2 = x1 + width, y1 + _HEIGHT / 2, y2 + _HEIGHT / 2
            bend = max(30.0, (x2 - x1) / 2)
            path = f"M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
            stroke = "#d55e00" if not need.is_met else "#808080"
            said = f"{node.name} needs {need.name}" + (f" {need.condition}" if need.condition else "")
            said += "" if need.is_met else ", and waits for it"
            lines.append(
                f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{1.5 if need.is_met else 2.5}"'
                f'{_dash(need.condition)} marker-end="url(#tip)"><title>{_escaped(said)}</title></path>'
            )
    return lines


def _boxes(graph: Graph, places: dict[str, tuple[float, float, float]]) -> list[str]:
    lines: list[str] = []
    for name, (x, y, width) in places.items():
        state = graph.nodes[name].state
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
