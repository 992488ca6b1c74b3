"""Memory that was freed goes back to the system."""

import platform
import subprocess
import sys

import pytest

from orchestra_supervisor.process import heap

TRIAL = """
import sys
from orchestra_supervisor.process.heap import tighten_heap

def used():
    text = open("/proc/self/smaps_rollup", encoding="ascii").read()
    return int(next(line for line in text.splitlines() if line.startswith("Anonymous:")).split()[1])

print(tighten_heap() if sys.argv[1] == "tight" else None)
bytearray(30_000_000)  # what was freed once is what glibc would keep from now on
before = used()
bytearray(20_000_000)
print(used() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library does as it sees fit")
def test_what_was_freed_is_given_back() -> None:
    def left(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", TRIAL, how], capture_output=True, check=True, timeout=20, encoding="utf-8"
        )
        said, kept = done.stdout.split()
        assert said == ("True" if how == "tight" else "None")
        return int(kept)

    assert left("tight") < 1_000 < left("loose"), "KB of 20 MB"


def test_a_library_without_such_a_thing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())
    assert heap.tighten_heap() is False
