"""The table of `orchestra top`: a line a service, the greediest first, with a curve of the last minutes.

Pure: views and a clock in, lines out.
"""

from collections import deque
from collections.abc import Iterable

from orchestra_supervisor.cli.render import glyph_of, style_of
from orchestra_supervisor.cli.shapes import FiguresView, FigureView, ServiceView, StatusView
from orchestra_supervisor.cli.table import Cell, table_lines
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip, format_duration, format_size, make_visible

__all__ = ["ORDERS", "Past", "top_lines"]

ORDERS = ("cpu", "mem", "name")
"""What the lines may be sorted by."""
_STEP = 10.0  # seconds of one sign of the curve
_SIGNS = 12
_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"
_FULL = (
    10.0  # percent of a processor that a full bar stands for at least: else a curve of nothing looks alarming
)
_BUSY = 90.0  # percent from which the figure is painted
_NARROW = 60  # columns under which there is no room for a curve


class Past:
    """Processor use of the last minutes, by service."""

    def __init__(self) -> None:
        self._points: dict[str, deque[tuple[float, float]]] = {}

    def add(self, name: str, points: Iterable[tuple[float, float]]) -> None:
        """Take points (wall seconds, percent) that are newer than those taken before."""
        kept = self._points.setdefault(name, deque(maxlen=int(_STEP) * _SIGNS))
        for at, cpu in points:
            if not kept or at > kept[-1][0]:
                kept.append((at, cpu))

    def note(self, figures: FiguresView) -> None:
        """Take what an answer has of everybody."""
        for name, points in figures.history.items():
            self.add(name, points)
        for name, one in figures.services.items():
            if one.cpu is not None:
                self.add(name, [(one.at, one.cpu)])

    def curve(self, name: str, now: float, terminal: Terminal) -> str:
        """Return the curve of a service up to now; blank where nothing is known of a time."""
        means: list[list[float]] = [[] for _ in range(_SIGNS)]
        for at, cpu in self._points.get(name, ()):
            step = int((now - at) // _STEP)
            if 0 <= step < _SIGNS:
                means[-1 - step].append(cpu)
        values = [sum(step) / len(step) if step else None for step in means]
        known = [value for value in values if value is not None]
        if not known:
            return ""
        full = max(_FULL, *known)
        bars = _BARS if terminal.is_unicode else _ASCII_BARS
        return "".join(
            " " if value is None else bars[min(len(bars) - 1, int(value / full * len(bars)))]
            for value in values
        ).rstrip()


def top_lines(
    status: StatusView, figures: FiguresView, past: Past, terminal: Terminal, now: float, order: str
) -> list[str]:
    """Return the head and the table.

    Args:
        status: What the daemon says of the services.
        figures: What they use.
        past: What they used.
        terminal: Where it will be shown.
        now: Seconds since the epoch.
        order: One of ORDERS.
    """
    lines = _head(status, figures, terminal)
    if status.services:
        lines += ["", *_table(_in_order(status, figures, order), figures, past, terminal, now)]
    return lines


def _in_order(status: StatusView, figures: FiguresView, order: str) -> list[ServiceView]:
    def key(service: ServiceView) -> tuple[float, str]:
        one = figures.services.get(service.name)
        if one is None or order == "name":
            return (float("inf") if one is None and order != "name" else 0.0, service.name)
        value = one.cpu if order == "cpu" else one.memory
        return (-(value or 0.0), service.name)

    return sorted(status.services, key=key)


def _head(status: StatusView, figures: FiguresView, terminal: Terminal) -> list[str]:
    ready, total = status.tally()
    everybody = [one for one in figures.services.values() if one.cpu is not None]
    cpu = sum(one.cpu or 0.0 for one in everybody)
    memory = sum(one.memory or 0 for one in figures.services.values())
    pieces = (
        f"orchestra {status.daemon.version}",
        f"{ready} ready of {total}",
        f"cpu {cpu:.1f}%",
        f"memory {format_size(memory)}",
    )
    roles = (
        f"{role} {_percent(one) or '?'}% {format_size(one.memory or 0)}"
        for role, one in figures.roles.items()
    )
    width = terminal.columns
    shown = [
        clip(line, width, terminal.mark) if width else line for line in ("  ".join(pieces), "  ".join(roles))
    ]
    return [terminal.paint(line, style) for line, style in zip(shown, ("bold", "dim"), strict=False)]


def _table(
    services: list[ServiceView], figures: FiguresView, past: Past, terminal: Terminal, now: float
) -> list[str]:
    kinds = {one.memory_kind for one in figures.services.values()}
    memory = next(iter(kinds)).upper() if len(kinds) == 1 else "MEM"
    header = [
        "",
        "NAME",
        "STATE",
        "CPU%",
        memory,
        "PROCS",
        "THR",
        "FDS",
        "READ",
        "WRITE",
        "UPTIME",
        "CPU, 2 MIN",
    ]
    is_narrow = terminal.columns is not None and terminal.columns < _NARROW
    body: list[list[Cell]] = []
    for service in services:
        one = figures.services.get(service.name)
        style = style_of(service.state)
        up = format_duration(now - service.started) if service.pid and service.started else ""
        body.append(
            [
                (glyph_of(service.state, terminal), style),
                (make_visible(service.name), ()),
                (service.state, style),
                *_cells(one, is_mixed=len(kinds) > 1),
                (up, ("dim",)),
                ("" if is_narrow else past.curve(service.name, now, terminal), ("cyan",)),
            ]
        )
    # What gives way first: bytes, threads, descriptors, uptime, processes, the state beside its sign.
    gives_way = (8, 9, 6, 7, 10, 5, 2)
    return table_lines(header, body, terminal, gives_way=gives_way, is_right=frozenset(range(3, 11)))


def _cells(one: FigureView | None, *, is_mixed: bool) -> list[Cell]:
    if one is None:
        return [("", ())] * 7
    mark = "~" if is_mixed and one.memory_kind == "rss" else ""
    cpu_style = ("yellow", "bold") if (one.cpu or 0.0) >= _BUSY else ()
    return [
        (_percent(one), cpu_style),
        ("" if one.memory is None else mark + format_size(one.memory), ()),
        (_count(one.processes), ("dim",)),
        (_count(one.threads), ("dim",)),
        (_count(one.fds), ("dim",)),
        ("" if one.read_bytes is None else format_size(one.read_bytes), ("dim",)),
        ("" if one.write_bytes is None else format_size(one.write_bytes), ("dim",)),
    ]


def _percent(one: FigureView) -> str:
    return "" if one.cpu is None else f"{one.cpu:.1f}"


def _count(value: int | None) -> str:
    return "" if value is None else str(value)
