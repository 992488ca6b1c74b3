"""Replay seeds: `python -m tests.simulation FIRST [LAST]`; one seed prints its whole story."""

import sys
import time

from tests.simulation.schedule import replay


def main() -> None:
    first = int(sys.argv[1])
    last = int(sys.argv[2]) if len(sys.argv) > 2 else first
    began = time.monotonic()
    for seed in range(first, last + 1):
        world = replay(seed)
        if first == last:
            print("\n".join(world.log))
    print(f"{last - first + 1} schedules held, {time.monotonic() - began:.1f} s")


main()
