"""Replay seeds: `python -m tests.simulation FIRST [LAST] [--rolling]`; one seed prints its whole story."""

import sys
import time

from tests.simulation.rolling import RollingSchedule
from tests.simulation.schedule import Schedule, replay, violation_of
from tests.simulation.world import Violation


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    kind = RollingSchedule if "--rolling" in sys.argv else Schedule
    first = int(words[0])
    last = int(words[1]) if len(words) > 1 else first
    began = time.monotonic()
    broken: list[int] = []
    for seed in range(first, last + 1):
        try:
            world = replay(seed, kind)
        except (Violation, BaseExceptionGroup) as error:
            if first == last:
                raise
            broken.append(seed)
            print(f"seed {seed}: {violation_of(error)}", flush=True)
        else:
            if first == last:
                print("\n".join(world.log))
    held = last - first + 1 - len(broken)
    print(f"{held} schedules held, {len(broken)} did not, {time.monotonic() - began:.1f} s")
    sys.exit(bool(broken))


main()
