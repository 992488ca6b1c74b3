"""Replay seeds: `python -m tests.simulation FIRST [LAST]`; one seed prints its whole story."""

import sys
import time

from tests.simulation.schedule import replay, violation_of
from tests.simulation.world import Violation


def main() -> None:
    first = int(sys.argv[1])
    last = int(sys.argv[2]) if len(sys.argv) > 2 else first
    began = time.monotonic()
    broken: list[int] = []
    for seed in range(first, last + 1):
        try:
            world = replay(seed)
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
