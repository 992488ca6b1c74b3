"""Runs a program of ours with a wall clock that is off by what a file says; monotonic time stays real.

Started in place of Python's own `-m MODULE` or `SCRIPT`, by what `SteppedFleet` gives out as the Python
of its commands. The file is `clock` in the folder of the test: seconds, as a double in the machine's own
form, looked at anew whenever the time is asked for.
"""

import mmap
import os
import runpy
import struct
import sys
import time

_OFFSET = struct.Struct("d")


def _map(path: str) -> mmap.mmap:
    """Map the file, which needs no descriptor from then on: the roles close what they do not know."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return mmap.mmap(fd, _OFFSET.size, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


def shift(path: str) -> None:
    """Replace every function of `time` that tells or assumes the wall time now."""
    memory = _map(path)
    real_ns, real_clock, real_clock_ns = time.time_ns, time.clock_gettime, time.clock_gettime_ns
    real_local, real_utc = time.localtime, time.gmtime

    def now_ns() -> int:
        return real_ns() + int(_OFFSET.unpack_from(memory)[0] * 1e9)

    def now() -> float:
        return now_ns() / 1e9

    def is_wall(clock: int) -> bool:
        return clock == time.CLOCK_REALTIME

    time.time_ns = now_ns
    time.time = now
    time.clock_gettime = lambda clock: now() if is_wall(clock) else real_clock(clock)
    time.clock_gettime_ns = lambda clock: now_ns() if is_wall(clock) else real_clock_ns(clock)
    time.localtime = lambda seconds=None: real_local(now() if seconds is None else seconds)
    time.gmtime = lambda seconds=None: real_utc(now() if seconds is None else seconds)


def main() -> None:
    """Run what the command line names, as Python would."""
    folder = os.environ["TEST_FOLDER"]
    shift(f"{folder}clock")
    sys.executable = f"{folder}python"  # what our commands start is to have the same clock
    words = sys.argv[1:]
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
