"""A wall clock that steps does no harm: not a day forward, not back, not to before the fleet was started.

The real keeper, logger, daemon and commands run on the real monotonic clock and on a wall clock that the
test sets (`tests/e2e/stepped_clock.py`). What this does not cover: that wall clock is the one of Python's
`time` alone. The kernel's time stamps of files, `datetime.now` (which nothing of ours but the embedded
servers asks), SQLite's own functions and the services stay on the real one. The clock steps, it is never
slewed, and the machine does not sleep. An age is the distance of two readings of the wall clock: after a
step forward it is too long by the step, which is only held to be no harm.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from orchestra_supervisor.logfile.reader import read_lines
from tests.e2e.fleet_driver import DEADLINE, Row, python, ticks, until
from tests.e2e.stepped_fleet import DAY, SteppedFleet

pytestmark = pytest.mark.slow

PERIOD = 0.1  # seconds between two probes
BACKOFF = 0.3  # seconds
GRACE = 0.6  # seconds
STEPS = {"forward": DAY, "back": 0.0, "before the start": -DAY, "1970": 3600.0 - time.time(), "right": 0.0}

WRITER = """
import os, time
number = 0
while True:
    number += 1
    os.write(1, b"%d\\n" % number)
    time.sleep(0.005)
"""
NOTE = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(fd, b"%r\\n" % time.monotonic())
"""
DEAF = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"here\\n")
while True: signal.pause()
"""
STAY = "import signal\nwhile True: signal.pause()\n"


class Cast(SteppedFleet):
    """The fleet that all tests here look at."""

    def instants(self, name: str) -> list[float]:
        """Return the monotonic instants that a program has noted."""
        path = self.path / name
        return [float(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []

    def newest_number(self) -> int:
        """Return the number of the writer's newest line."""
        lines = read_lines(str(self.home / "logs" / "writer.log"), limit=2)
        return next((int(line.data) for line in reversed(lines) if line.complete), 0)


@dataclass(frozen=True)
class Act:
    """What was seen between two steps of the clock."""

    span: tuple[float, float]
    first: int
    last: int
    rows: dict[str, Row]
    next_start: tuple[float, float, float]
    status: str
    since: list[Row]


@dataclass(frozen=True)
class Story:
    """A fleet through all steps of the clock."""

    fleet: Cast
    before: dict[str, tuple[int, int]]
    acts: dict[str, Act]


def processes(rows: dict[str, Row]) -> dict[str, tuple[int, int]]:
    """Return pid and start time of each service that is to stay as it is."""
    return {name: (rows[name]["pid"], ticks(rows[name]["pid"])) for name in ("writer", "probed", "slow")}


def play(fleet: Cast) -> Act:
    """Watch for as long as it takes every service to do a few times what it does."""
    began, first = time.monotonic(), fleet.newest_number()
    probes, starts = len(fleet.instants("liveness")), len(fleet.instants("starts"))
    until(lambda: fleet.newest_number() >= first + 50, "the writer writes")
    until(lambda: len(fleet.instants("liveness")) >= probes + 5, "probes go on")
    until(lambda: len(fleet.instants("starts")) >= starts + 2, "what fails is started again")

    def look() -> tuple[float, float, float] | None:
        at = fleet.wall()
        row = fleet.service("failing")
        return (at, row["next_start"], fleet.wall()) if row["state"] == "backoff" else None

    next_start = until(look, "a backoff")
    last = fleet.newest_number()
    text = fleet.ok("logs", "writer", "--since", "10m", "--json")
    since = [json.loads(line) for line in text.splitlines()]
    span = (began, time.monotonic())
    return Act(span, first, last, fleet.status(), next_start, fleet.ok("status"), since)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Play all steps on one fleet."""
    fleet = Cast(tmp_path_factory.mktemp("stepped"))
    quick = {"period": PERIOD, "timeout": 5}
    probes = {
        name: {"command": python(NOTE, fleet.path / name), **quick} for name in ("readiness", "liveness")
    }
    never = {"tcp": 1, "failure_threshold": 1_000_000, **quick}
    again = {
        "policy": "always",
        "max_restarts": "unlimited",
        "backoff": {"initial": BACKOFF, "multiplier": 1, "jitter": 0, "first_immediate": False},
    }
    fleet.write(
        {
            "writer": {"command": python(WRITER), "log": {"max_bytes": 500, "backups": 1000}},
            "probed": {"command": python(STAY), "probes": probes},
            "slow": {"command": python(STAY), "startup_timeout": "1h", "probes": {"startup": never}},
            "failing": {"command": python(NOTE, fleet.path / "starts"), "restart": again},
        }
    )
    try:
        fleet.run("up", "--detach", "--timeout", "0.1")
        fleet.until_state("probed", "ready")
        until(lambda: fleet.newest_number() > 0, "the writer writes")
        before = processes(fleet.status())
        acts: dict[str, Act] = {}
        for name, offset in STEPS.items():
            fleet.step(offset)
            acts[name] = play(fleet)
        yield Story(fleet, before, acts)
    finally:
        fleet.end()


@pytest.mark.parametrize("step", STEPS)
def test_no_service_is_restarted_or_seen_in_another_state(story: Story, step: str) -> None:
    rows = story.acts[step].rows
    assert {name: rows[name]["pid"] for name in story.before} == {
        name: pid for name, (pid, _) in story.before.items()
    }
    assert {name: rows[name]["restarts"] for name in story.before} == dict.fromkeys(story.before, 0)
    assert {name: rows[name]["state"] for name in story.before} == {
        "writer": "ready",
        "probed": "ready",
        "slow": "starting",
    }


@pytest.mark.parametrize("step", STEPS)
def test_every_role_has_the_clock_that_was_set(story: Story, step: str) -> None:
    act = story.acts[step]
    began, ended = (at - time.monotonic() + time.time() + STEPS[step] for at in act.span)
    exit_ = act.rows["failing"]["exit"]
    assert began - 5 < exit_["at_wall"] < ended + 5, "the keeper's"
    assert began - 5 < act.rows["failing"]["since"] < ended + 5, "the daemon's"
    assert began - 5 < act.since[-1]["at"] < ended + 5, "the logger's"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("probe", ["readiness", "liveness"])
def test_probes_keep_their_period(story: Story, step: str, probe: str) -> None:
    began, ended = story.acts[step].span
    count = sum(began <= at <= ended for at in story.fleet.instants(probe))
    assert 2 <= count <= (ended - began) / PERIOD + 3


def test_no_backoff_is_cut_short_and_none_lasts(story: Story) -> None:
    pauses = [after - before for before, after in pairwise(story.fleet.instants("starts"))]
    assert len(pauses) >= 2 * len(STEPS)
    assert min(pauses) >= BACKOFF
    assert max(pauses) < DEADLINE


@pytest.mark.parametrize("step", STEPS)
def test_the_next_start_is_told_by_the_clock_as_it_is_now(story: Story, step: str) -> None:
    before, told, after = story.acts[step].next_start
    assert before <= told <= after + BACKOFF


@pytest.mark.parametrize("step", STEPS)
def test_no_age_is_negative(story: Story, step: str) -> None:
    text = story.acts[step].status
    assert "writer" in text
    assert not re.search(r"-\d", text.replace(str(story.fleet.path), "")), text


@pytest.mark.parametrize("step", STEPS)
def test_the_lines_since_a_span_ago_have_all_that_came_after_the_step(story: Story, step: str) -> None:
    act = story.acts[step]
    numbers = [int(line["text"]) for line in act.since]
    assert numbers == sorted(set(numbers))
    assert set(range(act.first + 1, act.last + 1)) <= set(numbers)


def test_lines_from_before_a_clock_was_wrong_are_found_again_when_it_is_right(story: Story) -> None:
    numbers = {int(line["text"]) for line in story.acts["right"].since}
    earlier = story.acts["back"]
    assert set(range(earlier.first + 1, earlier.last + 1)) <= numbers
    wrong = story.acts["1970"]
    assert not set(range(wrong.first + 2, wrong.last + 1)) & numbers, "told by their own time"


def test_the_log_is_whole_and_in_order_over_all_steps_and_segments(story: Story) -> None:
    assert len(list((story.fleet.home / "logs").glob("writer.log.*Z*"))) > 5
    text = story.fleet.ok("logs", "writer", "--lines", "1000000", "--json")
    lines = [json.loads(line) for line in text.splitlines()]
    numbers = [int(line["text"]) for line in lines if line["complete"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert any(after["at"] < before["at"] - DAY / 2 for before, after in pairwise(lines)), "it was set back"


def test_the_journal_is_in_the_order_of_what_happened(story: Story) -> None:
    events = story.fleet.events()
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert any(after["at"] < before["at"] - DAY / 2 for before, after in pairwise(events)), "it was set back"
    kinds = [event["kind"] for event in events if event["service"] == "failing"]
    told = [kind for kind in kinds if kind in {"service.spawned", "service.exited"}]
    assert all(before != after for before, after in pairwise(told))


@pytest.mark.parametrize("role", ["daemon", "logger"])
def test_a_role_that_starts_under_another_clock_takes_over_as_ever(story: Story, role: str) -> None:
    fleet = story.fleet
    for offset in (-DAY, 0.0):
        old = until(lambda: fleet.role(role), f"there is a {role}")
        fleet.step(offset)
        fleet.kill(old)
        assert until(lambda old=old: fleet.role(role) not in {None, old}, f"another {role}")
        number, probes = fleet.newest_number(), len(fleet.instants("liveness"))
        until(lambda number=number: fleet.newest_number() > number, "lines are written")
        until(lambda probes=probes: len(fleet.instants("liveness")) > probes, "probes go on")
        rows = fleet.status()
        assert processes(rows) == story.before
        assert {rows[name]["restarts"] for name in story.before} == {0}


def test_a_stop_has_its_grace_and_its_length_whatever_the_clock_does(tmp_path: Path) -> None:
    fleet = SteppedFleet(tmp_path)
    fleet.write({"deaf": {"command": python(DEAF), "stop": {"grace": GRACE}}})
    try:
        fleet.up()
        fleet.until_log("deaf", "here")
        said, took = watch_down(fleet)
    finally:
        fleet.end()
    told = re.search(r"all stopped in (\S+) s", said)
    assert told, said
    assert GRACE <= float(told[1]) <= took


def watch_down(fleet: SteppedFleet) -> tuple[str, float]:
    """Take a fleet down while its clock is set back; return what was said, and the seconds that it took."""
    began = time.monotonic()
    with subprocess.Popen(
        fleet.argv("down"),
        cwd=fleet.path,
        env=fleet.environ(),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
    ) as down:
        try:
            fleet.until_state("deaf", "stopping")
            fleet.step(-DAY)
            _, said = down.communicate(timeout=DEADLINE)
        finally:
            down.kill()
    return said, time.monotonic() - began
