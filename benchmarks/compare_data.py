"""The figures of the comparison as they are kept: plays in a JSON file, and what they come to.

The file is committed beside the page, so that page and pictures can be written again from what was measured,
and so that a run of some peers or parts can replace just those.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compare_play import Sample

__all__ = ["FIGURES", "OURS", "PARTS", "Data", "Figure", "load"]

OURS = "orchestra"


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of the tables.

    Attributes:
        head: Its heading, with the unit.
        form: How a value is written, after it was multiplied.
        factor: From the unit of the file to that of the heading.
        of: Its value in one play; None where the play has none.
        is_more_better: As with bytes a second.
        over: Its value over many plays, where that is no median of theirs.
    """

    head: str
    form: str
    factor: float
    of: Callable[[Sample], float | None]
    is_more_better: bool = False
    over: Callable[[Iterable[Sample]], float | None] | None = None


def _taken(name: str) -> Callable[[Sample], float | None]:
    return lambda sample: sample.figures.get(name)


def _rank(values: Iterable[float], share: float) -> float | None:
    """Return the value at a share of many, by nearest rank; None of none."""
    ranked = sorted(values)
    return ranked[math.ceil(share * len(ranked)) - 1] if ranked else None


def _respawn(share: float) -> Figure:
    def over(samples: Iterable[Sample]) -> float | None:
        return _rank((one for sample in samples for one in sample.respawns), share)

    head = f"respawn p{round(100 * share)}, ms"
    return Figure(head, ".2f", 1000, lambda sample: over([sample]), over=over)


def _all_statuses(samples: Iterable[Sample]) -> float | None:
    found = [one for sample in samples for one in sample.statuses]
    return statistics.median(found) if found else None


FIGURES: dict[str, Figure] = {
    "respawn": _respawn(0.5),
    "respawn_late": _respawn(0.99),
    "start": Figure("start, ms a service", ".2f", 1000, _taken("start")),
    "up": Figure("up, s", ".2f", 1, _taken("up")),
    "stop": Figure("stop of all, s", ".3f", 1, _taken("stop")),
    "log_rate": Figure("log, MB/s", ".0f", 1e-6, _taken("log_rate"), is_more_better=True),
    "log_cpu": Figure("log, CPU s/GB", ".2f", 1e9, _taken("log_cpu")),
    "log_missing": Figure("bytes missing", ".0f", 1, _taken("log_missing")),
    "memory": Figure("PSS, MB", ".1f", 1, _taken("memory")),
    "memory_after_log": Figure("PSS after the log, MB", ".1f", 1, _taken("memory_after_log")),
    "processes": Figure("processes", ".0f", 1, _taken("processes")),
    "status": Figure("status, ms", ".0f", 1000, lambda sample: _all_statuses([sample]), over=_all_statuses),
    "idle_cpu": Figure("idle CPU, %", ".2f", 100, _taken("idle_cpu")),
    "idle_sleeps": Figure("idle wake-ups/s", ".1f", 1, _taken("idle_sleeps")),
}
PARTS: dict[str, tuple[str, ...]] = {
    "memory": ("memory", "processes"),
    "idle": ("idle_cpu", "idle_sleeps"),
    "status": (),
    "respawn": (),
    "log": ("log_rate", "log_cpu", "log_missing", "memory_after_log"),
    "stop": ("stop",),
}
"""What each part of a play takes; beside these, `start` and `up` are taken by every play."""


@dataclass(slots=True)
class Data:
    """What the file holds.

    Attributes:
        machine: Lines that say where it was measured.
        versions: Of each supervisor that was installed.
        left_out: Why others were not.
        language: Of the service and the floor.
        samples: All plays.
        alone: What only ours was asked to show, by the names of compare_alone.py, in its units.
        alone_faults: What went wrong with that.
    """

    machine: list[str] = field(default_factory=list[str])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    language: str = "C"
    samples: list[Sample] = field(default_factory=list[Sample])
    alone: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    alone_faults: list[str] = field(default_factory=list[str])

    def sizes(self) -> list[int]:
        """Return the numbers of services that were tried."""
        return sorted({sample.services for sample in self.samples})

    def peers(self) -> list[str]:
        """Return the supervisors in the order of the tables: ours, the peers, the floor."""
        found = list(dict.fromkeys(sample.peer for sample in self.samples))
        return sorted(found, key=lambda name: (name == "floor", name != OURS))

    def of(self, peer: str, services: int) -> list[Sample]:
        """Return the plays of a supervisor with so many services."""
        return [one for one in self.samples if (one.peer, one.services) == (peer, services)]

    def value(self, peer: str, services: int, name: str) -> float | None:
        """Return a figure over all rounds, in the unit of its heading; None where there is none."""
        figure, samples = FIGURES[name], self.of(peer, services)
        if figure.over is not None:
            found = figure.over(samples)
        else:
            values = [one for one in map(figure.of, samples) if one is not None]
            found = statistics.median(values) if values else None
        return None if found is None else found * figure.factor

    def ratio(self, peer: str, services: int, name: str, to: str = OURS) -> float | None:
        """Return how many times another's figure a supervisor's is: the median of common rounds."""
        figure = FIGURES[name]
        others = {one.round: figure.of(one) for one in self.of(to, services)}
        pairs = [(figure.of(one), others.get(one.round)) for one in self.of(peer, services)]
        ratios = [mine / other for mine, other in pairs if mine is not None and other]
        return statistics.median(ratios) if ratios else None

    def lone(self, name: str, share: float) -> float | None:
        """Return a figure that only ours has, at a share of its values; None where there is none."""
        return _rank(self.alone.get(name, ()), share)

    def next_round(self) -> int:
        """Return the number of a round that comes after all others."""
        return 1 + max((sample.round for sample in self.samples), default=0)

    def forget(self, peers: Iterable[str], sizes: Iterable[int], parts: frozenset[str]) -> None:
        """Drop what is about to be measured again; `parts` empty: whole plays."""
        peers, sizes = set(peers), set(sizes)
        again = [one for one in self.samples if one.peer in peers and one.services in sizes]
        if not parts:
            self.samples = [one for one in self.samples if one not in again]
            return
        for sample in again:
            for name in (name for part in parts for name in PARTS[part]):
                sample.figures.pop(name, None)
            for name in ("start", "up"):
                sample.figures.pop(name, None)
            sample.respawns = [] if "respawn" in parts else sample.respawns
            sample.statuses = [] if "status" in parts else sample.statuses
            sample.faults = [one for one in sample.faults if one.partition(":")[0] not in parts]

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; numbers are cut to five digits, more than is in them."""
        told = asdict(self)
        for sample in told["samples"]:
            sample["figures"] = {name: _short(value) for name, value in sample["figures"].items()}
            for name in ("respawns", "statuses"):
                sample[name] = [_short(value) for value in sample[name]]
        told["alone"] = {name: [_short(one) for one in values] for name, values in self.alone.items()}
        head = {name: value for name, value in told.items() if name != "samples"}
        text = json.dumps(head, indent=1)[:-2] + ',\n "samples": [\n  '
        text += ",\n  ".join(json.dumps(sample) for sample in told["samples"]) + "\n ]\n}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def load(path: Path) -> Data:
    """Read the file.

    Raises:
        OSError, ValueError, TypeError: It is not there, or not one of these.
    """
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    samples = [Sample(**sample) for sample in told.pop("samples")]
    return Data(**told, samples=samples)
