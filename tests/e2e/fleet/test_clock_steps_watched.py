"""Who watches a fleet in the foreground sees what happens, whatever the wall clock does meanwhile."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cli.terminal_driver import seated
from tests.e2e.fleet_driver import DEADLINE, python
from tests.e2e.stepped_fleet import DAY, SteppedFleet

pytestmark = pytest.mark.slow

STAY = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"still here\\n"))
os.write(1, b"here I am\\n")
while True: signal.pause()
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SteppedFleet]:
    """A fleet of one service that comes back when it is killed."""
    one = SteppedFleet(tmp_path)
    one.write({"one": {"command": python(STAY), "restart": "always"}})
    yield one
    one.end()


class Watched:
    """An `up` in the foreground whose output is read by a program."""

    def __init__(self, fleet: SteppedFleet) -> None:
        self.text = ""
        self.process = subprocess.Popen(
            fleet.argv("up"),
            cwd=fleet.path,
            env=fleet.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def until(self, what: str, after: int = 0) -> int:
        """Read until a text has come after a position; return the position behind it."""
        assert self.process.stdout is not None
        end = time.monotonic() + DEADLINE
        while what not in self.text[after:]:
            assert time.monotonic() < end, f"{what!r} did not come; there is: {self.text[after:]!r}"
            if select.select([self.process.stdout], [], [], 0.05)[0]:
                data = os.read(self.process.stdout.fileno(), 65_536)
                assert data, f"ended without {what!r}: {self.text!r}"
                self.text += data.decode()
        return self.text.index(what, after) + len(what)


@contextmanager
def watching(fleet: SteppedFleet) -> Generator[Watched]:
    """Run an `up` in the foreground; it has ended when the block has."""
    one = Watched(fleet)
    with one.process:
        try:
            yield one
        finally:
            one.process.kill()


@pytest.mark.parametrize("offset", [DAY, -DAY])
def test_what_happens_after_a_step_is_told_and_so_is_the_length_of_the_stop(
    fleet: SteppedFleet, offset: float
) -> None:
    with watching(fleet) as watched:
        at = watched.until("here I am", watched.until("1 ready of 1"))
        fleet.step(offset)
        fleet.kill(fleet.pid("one"))
        at = watched.until("one exited", at)
        at = watched.until("here I am", at)
        began = time.monotonic()
        watched.process.send_signal(signal.SIGINT)
        watched.until("stopping in order", at)
        fleet.step(-offset)
        watched.until("all stopped in", at)
        assert watched.process.wait(DEADLINE) == 0
    told = re.search(r"all stopped in (\S+) s", watched.text)
    assert told
    assert 0 <= float(told[1]) <= time.monotonic() - began + 0.05, "told to a tenth"


def test_a_person_at_a_terminal_is_told_what_happens_after_a_step_back(fleet: SteppedFleet) -> None:
    with seated(cwd=fleet.path, command=fleet.argv("up"), **fleet.environ()) as seat:
        at = seat.until("here I am", seat.until("1 ready of 1"))
        fleet.step(-DAY)
        fleet.kill(fleet.pid("one"))
        # The keeper restarts it by itself: what the next run says may be shown before the end of the last.
        at = max(seat.until("one exited", at), seat.until("here I am", at))
        seat.press(b"\x03")
        seat.until("all stopped in", at)
        assert seat.end() == 0


def test_what_was_said_during_the_start_is_shown_when_the_clock_steps_in_it(fleet: SteppedFleet) -> None:
    late = {"command": ["test", "-e", str(fleet.path / "open")], "period": "20ms"}
    fleet.write({"one": {"command": python(STAY), "probes": {"readiness": late}}})
    with watching(fleet) as watched:
        fleet.until_log("one", "here I am")
        fleet.step(-DAY)
        fleet.kill(fleet.pid("one"), signal.SIGUSR1)
        fleet.until_log("one", "still here")
        (fleet.path / "open").touch()
        at = watched.until("here I am", watched.until("1 ready of 1"))
        watched.until("still here", at)
        watched.process.send_signal(signal.SIGINT)
        watched.until("all stopped in")
