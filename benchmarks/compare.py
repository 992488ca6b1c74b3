"""Orchestra beside other supervisors: the same services under each, in one run, looked at from outside.

The peers are supervisor and circus (of PyPI), pm2 (of npm), s6 and runit (of Debian, unpacked and not
installed), all kept in .cache; one that cannot be had is left out, and said so. The floor is a C program that
forks and executes. Each service sends a datagram the moment it runs, with the time: the one clock of all
figures. In each round every supervisor plays once, one after the other, beginning with another one each time:
all have the same weather.

    python benchmarks/compare.py              # under 20 minutes, on a machine that does nothing else
    python benchmarks/compare.py --quick      # under a minute; ratios, printed and not kept
    python benchmarks/compare.py --peers s6   # again, with ours and the floor beside it; the rest is kept
    python benchmarks/compare.py --only log --sizes 50
    python benchmarks/compare.py --render     # page and pictures again, from the figures that are kept

Figures are kept in docs/benchmarks/data.json, the page is docs/benchmarks.md. Nothing is judged: exit status
0 when it was measured, 2 when that was not possible.
"""

import argparse
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from compare_alone import measure_alone
from compare_data import OURS, PARTS, Data, load
from compare_others import S6, Circus, Pm2, Runit, Supervisord
from compare_page import print_ratios, print_tables, render
from compare_peers import ROOT, Floor, Kit, Orchestra, Peer
from compare_play import Effort, Sample, play
from compare_plots import draw
from compare_programs import Programs, build
from compare_world import PeerFailed, StillAlive
from gateway_world import NotTried

__all__ = ["main"]

KINDS: tuple[type[Peer], ...] = (Floor, Orchestra, Supervisord, Circus, Pm2, S6, Runit)
CACHE = ROOT / ".cache" / "bench"
DATA = ROOT / "docs" / "benchmarks" / "data.json"
PAGE = ROOT / "docs" / "benchmarks.md"

_EFFORTS = {
    50: Effort(50),
    200: Effort(200, respawn_time=12, kills=100, looks=3),
    0: Effort(0, respawn_time=3, kills=30, idle_time=2, looks=3, size=0),
}
"""By number of services; 0: any other number."""
_SIZES: tuple[int, ...] = (50, 10, 100, 200, 1000)
"""In the order of the first round; what is left of the time goes to 50 and 200 again."""
_AGAIN: tuple[int, ...] = (50, 200, 50, 50, 200, 50)
_QUICK = Effort(10, respawn_time=2, kills=10, idle_time=0, looks=2, size=50_000_000, patience=20)
_MOST = 60.0  # seconds that start and stop of a peer may take; above that, a larger fleet is not tried


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured.

    Attributes:
        efforts: One for each round; None: what ours alone is asked to show.
        minutes: After which no further round begins, once every size had one.
        parts: To be tried; empty: all.
        path: Of the figures; None: they are not kept.
        is_brief: Hardly anything of what ours alone is asked to show.
    """

    efforts: list[Effort | None]
    minutes: float
    parts: frozenset[str]
    path: Path | None
    is_brief: bool = False


class Comparison:
    """A run of the comparison.

    Args:
        folder: For all that is temporary.
        kits: The supervisors that could be had.
        data: Is added to.
        plan: What is to be measured.
    """

    def __init__(self, folder: Path, kits: dict[type[Peer], Kit], data: Data, plan: Plan) -> None:
        self._folder = folder
        self._kits = list(kits.items())
        self._data = data
        self._plan = plan
        self._programs = _programs(folder)
        self._began = time.monotonic()
        self._lasted: dict[int, float] = {}

    def run(self) -> None:
        """Play all rounds.

        Raises:
            StillAlive: Something that was started is.
        """
        self._data.language = self._programs.language
        first, end = self._data.next_round(), self._began + 60 * self._plan.minutes
        for place, effort in enumerate(self._plan.efforts):
            if effort is None:
                self._alone()
                continue
            began = time.monotonic()
            if began + self._lasted.get(effort.services, 0.0) > end and effort.services in self._lasted:
                continue
            turn = place % len(self._kits)
            for make in self._kits[turn:] + self._kits[:turn]:
                self._play(make, effort, first + place)
            self._lasted[effort.services] = time.monotonic() - began
            _say(f"round {place + 1} with {effort.services} services: {time.monotonic() - began:.0f} s")

    def _play(self, make: tuple[type[Peer], Kit], effort: Effort, number: int) -> None:
        name, began = make[0].name, time.monotonic()
        sample = Sample(name, effort.services, number, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if why := self._too_much(name, effort.services):
            if not any(one.faults for one in self._data.of(name, effort.services)):
                sample.faults.append(why)
                self._data.samples.append(sample)
            return
        play(make, self._programs, self._folder / "play", effort, sample, self._plan.parts)
        self._data.samples.append(sample)
        self._save()
        told = "; ".join(sample.faults) or "as asked"
        _say(f"  {name:12} {effort.services:5} services {time.monotonic() - began:6.1f} s  {told}")

    def _save(self) -> None:
        if self._plan.path is not None:
            self._data.save(self._plan.path)

    def _alone(self) -> None:
        kit, began = dict(self._kits).get(Orchestra), time.monotonic()
        if kit is not None:
            self._data.alone_faults = []
            folder, faults = self._folder, self._data.alone_faults
            self._data.alone = measure_alone(
                folder, kit, self._programs, faults, is_brief=self._plan.is_brief
            )
            told = "; ".join(faults) or "as asked"
            self._save()
            _say(f"  {OURS} alone {time.monotonic() - began:18.1f} s  {told}")

    def _too_much(self, name: str, services: int) -> str:
        """Return why a supervisor is not tried with so many services; empty: it is."""
        if name == OURS:
            return ""
        smaller = [one for one in self._data.samples if one.peer == name and one.services < services]
        for one in sorted(smaller, key=lambda sample: -sample.services):
            took = one.figures.get("up", _MOST) + one.figures.get("stop", 0.0)
            if "up" not in one.figures and not one.faults:
                continue
            if took * services / one.services > _MOST:
                return f"not tried: with {one.services} services start and stop took {took:.0f} s"
            return ""
        return ""


def _programs(folder: Path) -> Programs:
    place = folder / "programs"
    place.mkdir()
    return build(place)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def install(names: list[str], data: Data) -> dict[type[Peer], Kit]:
    """Have the supervisors of some names; one that cannot be had is noted."""
    kits: dict[type[Peer], Kit] = {}
    for kind in KINDS:
        if kind.name not in names:
            continue
        try:
            kits[kind] = kind.install(CACHE)
        except (NotTried, OSError, StopIteration) as error:
            data.left_out[kind.name] = " ".join(str(error).split())[-200:]
            data.versions.pop(kind.name, None)
            _say(f"{kind.name} is left out: {data.left_out[kind.name]}")
        else:
            data.versions[kind.name] = kits[kind].version
            data.left_out.pop(kind.name, None)
    return kits


def machine(programs: str) -> list[str]:
    """Return where and when it is measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    python = platform.python_version()
    linux, day = platform.release().partition("-")[0], time.strftime("%Y-%m-%d", time.gmtime())
    return [
        f"{os.cpu_count()} processors ({model}), {memory:.0f} GB, Linux {linux}, Python {python}",
        f"measured on {day}, load before it {load}; the service is a {programs} program",
    ]


def write_page(data: Data) -> None:
    """Write page and pictures.

    Raises:
        NotTried: The page has a block that nobody knows.
    """
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), data), encoding="utf-8")
    draw(data, DATA.parent)


def plan_of(options: argparse.Namespace) -> Plan:
    """Return what the options ask for."""
    parts = frozenset(options.only)
    if options.quick:
        return Plan([_QUICK], 1.0, parts, None)
    sizes = options.sizes or list(_SIZES)
    again = [size for size in _AGAIN * max(1, options.rounds - 1) if size in sizes and size in _EFFORTS]
    counts: dict[int, int] = dict.fromkeys(sizes, 1)
    order = list(sizes)
    for size in again:
        if counts[size] < options.rounds:
            counts[size] += 1
            order.append(size)
    rounds = [replace(_EFFORTS.get(size, _EFFORTS[0]), services=size) for size in order]
    if options.brief:
        rounds = [
            replace(one, respawn_time=1, idle_time=min(one.idle_time, 1), size=one.size // 20, looks=1)
            for one in rounds
        ]
    efforts: list[Effort | None] = [None] if options.alone else list(rounds)
    if not (options.peers or options.only or options.sizes or options.alone):
        # After every size had a round, so that what is left of the time goes to further rounds.
        efforts.insert(len(sizes), None)
    return Plan(efforts, options.minutes, parts, options.data, options.brief)


def _numbers(text: str) -> list[int]:
    numbers = [int(word) for word in text.split(",")]
    if min(numbers) < 1:
        raise ValueError
    return numbers


def _some_of(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        words = text.split(",")
        if unknown := set(words) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
        return words

    return parse


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [kind.name for kind in KINDS]
    parser.add_argument("--peers", type=_some_of(names), default=[], help=f"of {', '.join(names)}")
    parser.add_argument("--only", type=_some_of(list(PARTS)), default=[], help=f"of {', '.join(PARTS)}")
    parser.add_argument("--sizes", type=_numbers, default=[], help="numbers of services")
    parser.add_argument(
        "--rounds", type=int, default=4, help="of 50 and of 200 services, if there is time (default 4)"
    )
    parser.add_argument(
        "--minutes", type=float, default=17.0, help="after which no further round begins (default 17)"
    )
    parser.add_argument("--data", type=Path, default=DATA, help="the file of the figures")
    parser.add_argument("--quick", action="store_true", help="ten services, once; ratios alone")
    parser.add_argument(
        "--brief", action="store_true", help="hardly anything of each part: to try the benchmark"
    )
    parser.add_argument("--alone", action="store_true", help=f"just what {OURS} alone is asked to show")
    parser.add_argument("--render", action="store_true", help="measure nothing; write page and pictures")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace, folder: Path) -> Data:
    plan, is_part = plan_of(options), bool(options.peers or options.only or options.sizes or options.alone)
    names = [kind.name for kind in KINDS]
    if options.peers:
        names = [name for name in names if name in {"floor", OURS, *options.peers}]
    data = load(plan.path) if is_part and plan.path is not None and plan.path.exists() else Data()
    data.forget(names, {effort.services for effort in plan.efforts if effort is not None}, plan.parts)
    kits = install(names, data)
    comparison = Comparison(folder, kits, data, plan)
    data.machine = machine(data.language)
    comparison.run()
    return data


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    options = _options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    # A thousand services are as many pidfds here, and pipes in every supervisor: 1,024 would be a bend.
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20_000 if most == resource.RLIM_INFINITY else min(most, 20_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, wanted), most))
    folder, is_left = Path(tempfile.mkdtemp(prefix="compare-")), False
    try:
        data = load(options.data) if options.render else _measure(options, folder)
        if options.quick:
            print_ratios(data)
            return 0
        if not options.render:
            data.save(options.data)
            print_tables(data)
        if options.data == DATA:
            write_page(load(DATA))  # as the file has them, rounded: the page can be written from it again
    except (NotTried, PeerFailed, OSError, ValueError) as error:
        is_left = isinstance(error, StillAlive)
        _say(f"compare: {error}" + (f"; its folder is {folder}" if is_left else ""))
        return 2
    except KeyboardInterrupt:
        _say("compare: told to end")
        return 130
    finally:
        if not is_left:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
