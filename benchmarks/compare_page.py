"""What the comparison shows, as tables: in a terminal, and in blocks of docs/benchmarks.md.

A block of the page begins with `<!-- figures: NAME -->` and ends with `<!-- end -->`; all else on the page is
written by people and stays.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compare_alone import ALONE
from compare_data import FIGURES, OURS, Data
from compare_plots import GROWTH
from gateway_world import NotTried

__all__ = ["Target", "print_ratios", "print_tables", "render", "targets"]

_MAIN = (50, 200)
"""Sizes that have tables of their own."""
_FIRST = ("respawn", "respawn_late", "start", "up", "stop", "status")
_SECOND = (
    "log_rate",
    "log_cpu",
    "log_missing",
    "memory",
    "memory_after_log",
    "processes",
    "idle_cpu",
    "idle_sleeps",
)
_GROWING = ("respawn", "start", "up", "stop", "memory", "status")
_RATIOS = ("respawn", "start", "up", "stop", "log_rate", "log_cpu", "memory", "status")
_BLOCK = re.compile(r"(<!-- figures: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NOT_YET = "*Not measured yet: `make bench` writes it here.*"

Row = list[str]


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _ratio(value: float | None) -> str:
    return _cell(value, ",.0f" if value is not None and value >= 100 else ".3g")


def _figures(data: Data, services: int, names: tuple[str, ...]) -> list[Row]:
    """Return the table of one size: a row for each supervisor."""
    rows: list[Row] = [[f"{services} services", *(FIGURES[name].head for name in names)]]
    for peer in data.peers():
        if not data.of(peer, services):
            continue
        cells = [_cell(data.value(peer, services, name), FIGURES[name].form) for name in names]
        if "respawn" in names:
            count = sum(len(one.respawns) for one in data.of(peer, services))
            cells[names.index("respawn")] += f" ({count})"
        rows.append([peer, *cells])
    return rows


def _ratios(data: Data, services: int) -> list[Row]:
    """Return how many times ours each figure of the others is."""
    rows: list[Row] = [
        [f"{services} services, times {OURS}", *(FIGURES[name].head.partition(",")[0] for name in _RATIOS)]
    ]
    rows[0][1 + _RATIOS.index("log_rate")] = "log MB/s"
    rows[0][1 + _RATIOS.index("log_cpu")] = "log CPU"
    rows += [
        [peer, *(_ratio(data.ratio(peer, services, name)) for name in _RATIOS)]
        for peer in data.peers()
        if peer != OURS and data.of(peer, services)
    ]
    return rows


def _growth(data: Data) -> list[Row]:
    rows: list[Row] = [["", "services", *(FIGURES[name].head for name in _GROWING)]]
    for peer in data.peers():
        for services in data.sizes():
            if any(sample.figures for sample in data.of(peer, services)):
                cells = [_cell(data.value(peer, services, name), FIGURES[name].form) for name in _GROWING]
                rows.append([peer, str(services), *cells])
    return rows


@dataclass(frozen=True, slots=True)
class Target:
    """Something that was to be reached.

    Attributes:
        text: What it is.
        reached: What was measured, for people; empty where it was not.
        is_met: Whether that is enough.
    """

    text: str
    reached: str
    is_met: bool


def most(text: str, value: float | None, limit: float | None, unit: str) -> Target:
    """Return a target that is met by what is not above a limit."""
    if value is None or limit is None:
        return Target(text, "", is_met=False)
    return Target(text, f"{value:.3g} {unit}, at most {limit:.3g}", value <= limit)


def targets(data: Data) -> Iterator[Target]:
    """Return what was to be reached by the figures of this file, and what was."""

    def best(services: int, name: str, among: Callable[[str], bool]) -> float | None:
        found = [data.value(peer, services, name) for peer in data.peers() if among(peer)]
        values = [value for value in found if value is not None]
        return (max if FIGURES[name].is_more_better else min)(values) if values else None

    def ours(services: int, name: str) -> float | None:
        return data.value(OURS, services, name)

    def is_peer(name: str) -> bool:
        return name not in {OURS, "floor"}

    for services in _MAIN:
        ratio = data.ratio(OURS, services, "respawn", "floor")
        yield most(f"respawn with {services} services, p50", ratio, 2.5, "times the floor")
        text = f"respawn with {services} services, p50, below every peer"
        yield most(text, ours(services, "respawn"), best(services, "respawn", is_peer), "ms")
    yield most("respawn with 200 services, p99", ours(200, "respawn_late"), 10, "ms")
    yield most("start with 200 services", data.ratio(OURS, 200, "start", "floor"), 3, "times the floor")
    yield most(
        "start with 1,000 beside 200 services", _times(data, "start", 1000, 200), 1.5, "times as long each"
    )
    yield most("stop of 200 services", ours(200, "stop"), 1, "s")
    rate, peers = ours(50, "log_rate"), best(50, "log_rate", is_peer)
    reached = "" if rate is None or peers is None else f"{rate:.3g} MB/s, at least {peers:.3g}"
    yield Target("log, above every peer", reached, bool(reached) and (rate or 0) >= (peers or 0))
    yield most("log, below every peer", ours(50, "log_cpu"), best(50, "log_cpu", is_peer), "CPU s/GB")
    yield most("log, bytes missing", ours(50, "log_missing"), 0, "bytes")
    yield most("idle with 200 services", ours(200, "idle_sleeps"), 1, "wake-ups a second")
    yield most("idle with 200 services", ours(200, "idle_cpu"), 0.05, "% CPU")
    for services in _MAIN:
        text = f"memory with {services} services, at most pm2's"
        yield most(text, ours(services, "memory"), data.value("pm2", services, "memory"), "MB")
    small, large = ours(50, "memory"), ours(200, "memory")
    slope = None if small is None or large is None else (large - small) * 1000 / 150
    yield most("memory of a further service, from 50 to 200", slope, 20, "KB")
    yield most("status with 50 services", ours(50, "status"), 60, "ms")
    yield most("status with 1,000 services", ours(1000, "status"), 120, "ms")
    yield from _lone_targets(data)


def _lone_targets(data: Data) -> Iterator[Target]:
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        loud, quiet = data.lone("respawn_loud", share), data.lone("respawn_quiet", share)
        ratio = None if loud is None or not quiet else loud / quiet
        yield most(f"respawn beside a full log and 200 status calls a second, {word}", ratio, 1.25, "times")
    for name, asked, limit, what in (("calls", 200, 30, "status calls"), ("probes", 1000, 50, "HTTP probes")):
        text = f"daemon at {asked:,} {what} a second"
        rate, cpu = data.lone(f"{name}_rate", 0.5), data.lone(f"{name}_cpu", 0.5)
        if rate is not None and rate < 0.9 * asked:
            yield Target(text, f"there were {rate:.0f} a second", is_met=False)
        else:
            yield most(text, None if cpu is None else 100 * cpu, limit, "% of a core")
    yield most("control answers after the daemon's SIGKILL", data.lone("back", 0.5), 0.7, "s")


def _times(data: Data, name: str, large: int, small: int) -> float | None:
    values = data.value(OURS, large, name), data.value(OURS, small, name)
    return None if values[0] is None or not values[1] else values[0] / values[1]


def _targets(data: Data) -> list[Row]:
    words = {True: "yes", False: "**no**"}
    return [
        ["target", "measured", "met"],
        *([one.text, one.reached or "-", words[one.is_met] if one.reached else "-"] for one in targets(data)),
    ]


def _faults(data: Data) -> list[str]:
    lines = [f"* {name} is left out: {why}" for name, why in data.left_out.items()]
    lines += [f"* {OURS} alone, {one}" for one in data.alone_faults]
    for sample in data.samples:
        lines += [
            f"* {sample.peer}, {sample.services} services, round {sample.round}: {one}"
            for one in sample.faults
        ]
    return lines


def _markdown(rows: list[Row]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" + "|---:" * (len(rows[0]) - 1) + "|")
    return "\n".join(lines)


def _alone(data: Data) -> list[Row]:
    rows: list[Row] = [[f"{OURS} alone", "unit", "p50", "p99", "times"]]
    for name, (text, unit, factor) in ALONE.items():
        if values := data.alone.get(name):
            middle, late = data.lone(name, 0.5), data.lone(name, 0.99)
            cells = [_cell(None if one is None else one * factor, ".3g") for one in (middle, late)]
            rows.append([text, unit, cells[0], cells[1] if len(values) > 1 else "-", str(len(values))])
    return rows


def _text(rows: list[Row]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def print_tables(data: Data) -> None:
    """Print all figures for people."""
    for services in data.sizes():
        for names in (_FIRST, _SECOND):
            print(f"\n{_text(_figures(data, services, names))}")
        print(f"\n{_text(_ratios(data, services))}")
    print(f"\n{_text(_alone(data))}")
    print(f"\n{_text(_targets(data))}")
    print("\n".join(["", *_faults(data), *data.machine]))


def print_ratios(data: Data) -> None:
    """Print ratios alone: on a machine that does other things, nothing else means much."""
    for services in data.sizes():
        print(_text(_ratios(data, services)))
    print("\n".join(_faults(data)))


def _blocks(data: Data) -> dict[str, Callable[[], str]]:
    return {
        "machine": lambda: "\n".join(f"* {line}" for line in [*data.machine, _versions(data)]),
        "first": lambda: "\n\n".join(_markdown(_figures(data, services, _FIRST)) for services in _MAIN),
        "second": lambda: "\n\n".join(_markdown(_figures(data, services, _SECOND)) for services in _MAIN),
        "ratios": lambda: "\n\n".join(_markdown(_ratios(data, services)) for services in _MAIN),
        "targets": lambda: _markdown(_targets(data)),
        "growth": lambda: f"{_pictures()}\n\n{_markdown(_growth(data))}",
        "alone": lambda: _markdown(_alone(data)),
        "faults": lambda: "\n".join(_faults(data)) or "Nothing.",
    }


def _pictures() -> str:
    return "\n\n".join(f"![{title}](benchmarks/{name}.svg)" for name, title in GROWTH.items())


def _versions(data: Data) -> str:
    return "versions: " + ", ".join(f"{name} {version}" for name, version in data.versions.items())


def render(page: str, data: Data | None) -> str:
    """Return a page with its blocks written anew; without data they say that there is none.

    Raises:
        NotTried: The page has a block that nobody knows.
    """

    def block(match: re.Match[str]) -> str:
        text = _NOT_YET
        if data is not None:
            known = _blocks(data)
            if match[2] not in known:
                raise NotTried(f"the page has a block `{match[2]}`; there are {', '.join(known)}")
            text = known[match[2]]()
        return f"{match[1]}{text}\n{match[3]}"

    return _BLOCK.sub(block, page)
