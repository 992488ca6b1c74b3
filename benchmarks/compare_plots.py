"""How each supervisor grows with its services, as pictures: log-log, SVG, the same from the same figures.

A plotting library would be eighty megabytes for six pictures of a few lines, and its types are too loose for
this repository; this writes what they need and no more.
"""

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

from compare_data import OURS, Data

__all__ = ["GROWTH", "Line", "draw", "picture"]

GROWTH = {
    "respawn": "From SIGKILL to the next process, p50, in ms",
    "start": "Start, in ms a service",
    "up": "From nothing until all services run, in s",
    "stop": "Stop of all services, in s",
    "memory": "Memory of the supervisor (PSS), in MB",
    "status": "Its status command, in ms",
}
"""By figure: the title of its picture."""

_COLORS = {
    OURS: "#0b5fa5",
    "supervisord": "#b8860b",
    "circus": "#7a3b8f",
    "pm2": "#2e8b57",
    "s6": "#c2452d",
    "runit": "#4d4d4d",
    "floor": "#8c8c8c",
}
_WIDTH, _HEIGHT = 640.0, 380.0
_LEFT, _RIGHT, _TOP, _BOTTOM = (
    58.0,
    100.0,
    40.0,
    46.0,
)  # margins around the plot; names of lines are in the right one
_LINE = 13.0  # height of a line of text
_HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" '
    'font-family="system-ui, sans-serif" font-size="11" fill="#333333">'
)


@dataclass(frozen=True, slots=True)
class Line:
    """The points of a supervisor: its services, and its value with so many; both above zero."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis: values from one to another lie at places from one to another."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return where a value lies."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def draw(data: Data, folder: Path) -> list[Path]:
    """Write a picture for each figure that grows; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, title in GROWTH.items():
        lines: list[Line] = []
        for peer in data.peers():
            found = [(services, data.value(peer, services, name)) for services in data.sizes()]
            lines.append(Line(peer, [(services, value) for services, value in found if value]))
        paths.append(folder / f"{name}.svg")
        paths[-1].write_text(picture(title, lines, "services"), encoding="utf-8")
    return paths


def picture(title: str, lines: list[Line], along: str) -> str:
    """Return a picture of lines on two logarithmic axes; those without points are left out."""
    lines = [line for line in lines if line.points]
    parts = [
        _HEAD,
        f'<rect width="{_WIDTH:g}" height="{_HEIGHT:g}" fill="#ffffff"/>',
        _text(_LEFT, 22, title, 'font-size="13" font-weight="600"'),
    ]
    if lines:
        numbers = sorted({x for line in lines for x, _ in line.points})
        across = _Axis(numbers[0] / 1.15, numbers[-1] * 1.15, _LEFT, _WIDTH - _RIGHT)
        values = [y for line in lines for _, y in line.points]
        upward = _Axis(min(values) / 1.3, max(values) * 1.3, _HEIGHT - _BOTTOM, _TOP)
        parts += _grid(across, upward, numbers, along)
        names = _spread([upward.place(line.points[-1][1]) for line in lines])
        for line, at in sorted(zip(lines, names, strict=True), key=lambda pair: pair[0].name == OURS):
            parts += _line(line, across, upward, at)
    return "\n".join([*parts, "</svg>", ""])


def _grid(across: _Axis, upward: _Axis, numbers: list[float], along: str) -> list[str]:
    parts: list[str] = []
    for value in _ticks(upward.low, upward.high):
        y = upward.place(value)
        parts.append(f'<path d="M{across.start:.1f} {y:.1f}H{across.end:.1f}" stroke="#e2e2e2"/>')
        parts.append(_text(across.start - 6, y + 4, f"{value:,.6g}", 'text-anchor="end"'))
    for number in numbers:
        x = across.place(number)
        parts.append(f'<path d="M{x:.1f} {upward.start:.1f}V{upward.end:.1f}" stroke="#e2e2e2"/>')
        parts.append(_text(x, upward.start + 16, f"{number:,.6g}", 'text-anchor="middle"'))
    parts.append(_text((across.start + across.end) / 2, upward.start + 34, along, 'text-anchor="middle"'))
    return parts


def _line(line: Line, across: _Axis, upward: _Axis, name_at: float) -> list[str]:
    color, is_ours = _COLORS.get(line.name, "#000000"), line.name == OURS
    places = [(across.place(x), upward.place(y)) for x, y in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    look = f'stroke-width="{3 if is_ours else 1.5}"' + (
        ' stroke-dasharray="5 4"' if line.name == "floor" else ""
    )
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4 if is_ours else 2.8}" fill="{color}"/>' for x, y in places
    ]
    last, end = places[-1], across.end + 22
    way = f"M{last[0] + 5:.1f} {last[1]:.1f}L{end - 4:.1f} {name_at:.1f}"
    weight = ' font-weight="700"' if is_ours else ""
    return [
        f'<path d="M{path}" fill="none" stroke="{color}" {look}/>',
        *dots,
        f'<path d="{way}" stroke="{color}" opacity="0.35"/>',
        _text(end, name_at + 4, line.name, f'fill="{color}"{weight}'),
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Return round values between two: powers of ten, with 2 and 5 of each where there would be few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if math.log10(high / low) > 3 else (1, 2, 5)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in values if low <= value <= high]


def _spread(places: list[float]) -> list[float]:
    """Return places near these, none closer to another than a line of text."""
    order = sorted(range(len(places)), key=lambda at: places[at])
    found = list(places)
    for before, at in pairwise(order):
        found[at] = max(found[at], found[before] + _LINE)
    lowest = _HEIGHT - _BOTTOM + 8
    for at in reversed(order):
        found[at] = min(found[at], lowest)
        lowest = found[at] - _LINE
    return found


def _text(x: float, y: float, text: str, look: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'
