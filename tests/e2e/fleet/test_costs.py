"""What a fleet costs whatever the speed of the machine: wake-ups, system calls, messages, memory, files."""

import re
import select
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, until

ROLES = ("keeper", "logger", "daemon")
AT_ONCE = {"policy": "always", "max_restarts": "unlimited", "stable_after": 0.01}
SLEEPER = {"command": ["sleep", "1000"], "restart": AT_ONCE}

MOST_CALLS = {"keeper": 97, "logger": 50, "daemon": 140}
"""System calls of a respawn; a third more than were counted, as two events may come in one wake-up or two."""
MOST_CALLS_OF_STATUS = 48
"""System calls of the daemon for one status call with its connection; a third more than were counted."""
MESSAGES = {
    "exit": 1,
    "gone": 1,
    "eof": 2,
    "spawned": 1,
    "again": 1,
    "open": 1,
    "ack": 1,
}
"""What the keeper hears and says in a respawn: one run ends, its two streams end, the next begins by the
standing order, and gets one of its own. Both streams of it are opened by one message."""
MOST_NOTES = 3
"""Notes of a service's state that the keeper is given in a respawn; states that follow at once share one."""
FRAME = r'\{\\"type\\":\\"(\w+)\\"'
"""The beginning of a message on the wire, as strace writes it."""
SPAWNED = r'\{\\"type\\":\\"spawned\\",\\"re\\":(?P<re>\w+),\\"run\\":\\"(?P<run>[\w-]+)\\",\\"pid\\":%d,'
AGAIN = r'\{\\"type\\":\\"again\\",\\"run\\":\\"%s\\",\\"next\\":\{'
"""A run by its pid has begun, as asked for by `re`; what is to follow a run."""
MOST_MEMORY = 32_000
"""Bytes that a further service may cost all roles: what it does, 27,000 from 10 to 110, and some; the first
ones cost more than the later ones, which find room that others have left. The target is 20,000."""


def roles_of(fleet: Fleet) -> dict[str, int]:
    """Return the pid of each role."""
    found = {"keeper": fleet.keeper, "logger": fleet.role("logger"), "daemon": fleet.role("daemon")}
    assert all(found.values())
    return {name: pid for name, pid in found.items() if pid is not None}


def sleeps(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep so far."""
    texts = [path.read_text(encoding="utf-8") for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for text in texts)


def pass_(seconds: float) -> None:
    """Let time pass: what does not happen in it is what is looked for."""
    select.select([], [], [], seconds)


def rest(fleet: Fleet, seconds: float = 0.3) -> None:
    """Wait until nothing of the fleet has woken up for so many seconds."""

    def is_quiet() -> bool:
        before = [sleeps(pid) for pid in roles_of(fleet).values()]
        pass_(seconds)
        return before == [sleeps(pid) for pid in roles_of(fleet).values()]

    until(is_quiet, "the fleet has gone to sleep")


def services_of(fleet: Fleet) -> list[int]:
    """Return the pids of services, as children of the keeper, and ask nobody for them."""
    keeper = fleet.keeper
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text(encoding="ascii").split()
    found: list[int] = []
    for pid in children:
        with suppress(OSError):  # ended since
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00":
                found.append(int(pid))
    return found


def respawn(fleet: Fleet, count: int, *, is_settled: Callable[[int], bool] = lambda _: True) -> None:
    """Kill a service again and again, and see it run again; returns at rest.

    Args:
        fleet: Of the service.
        count: How often.
        is_settled: Whether the new process, by its pid, may be killed in turn.
    """
    for _ in range(count):
        before = services_of(fleet)
        fleet.kill(before[-1])

        def new(before: list[int] = before) -> list[int]:
            now = services_of(fleet)
            return [pid for pid in now if pid not in before] if len(now) == len(before) else []

        (pid,) = until(new, "the killed service runs again")
        until(lambda pid=pid: is_settled(pid), "it may be killed again")
        rest(fleet, 0.1)
    rest(fleet)


def has_order(pid: int, lines: list[str]) -> bool:
    """Return whether the keeper knows what follows a run: it came with its own request, or since.

    Args:
        pid: Of the run.
        lines: Of the keeper's trace, from before the run began.
    """
    text = "".join(lines)
    begun = re.search(SPAWNED % pid, text)
    if begun is None:
        return False
    return begun["re"] != "null" or re.search(AGAIN % begun["run"], text) is not None


@contextmanager
def traced(role: str, pid: int, path: Path) -> Iterator[Callable[[], list[str]]]:
    """Have a role's system calls written down, of all threads of the daemon; yields what returns them."""
    threads = (
        ["-f"] if role == "daemon" else []
    )  # with it the keeper's children would be traced, the services
    command = ["strace", *threads, "-qq", "-s", "8192", "-o", str(path), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8")
    try:
        status = Path(f"/proc/{pid}/status")

        def is_traced() -> bool:
            if tracer.poll() is not None:
                assert tracer.stderr is not None
                pytest.skip(f"strace cannot attach here: {tracer.stderr.read().strip()}")
            return f"TracerPid:\t{tracer.pid}\n" in status.read_text(encoding="utf-8")

        until(is_traced, "strace is attached")
        yield lambda: path.read_text(encoding="utf-8", errors="replace").splitlines()
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)


@pytest.mark.slow
def test_nothing_wakes_a_fleet_at_rest(fleet: Fleet) -> None:
    fleet.write({f"s{number}": SLEEPER for number in range(10)})
    fleet.up()
    rest(fleet)
    roles = roles_of(fleet)
    before = {name: sleeps(pid) for name, pid in roles.items()}
    pass_(2.0)
    woken = {name: sleeps(pid) - before[name] for name, pid in roles.items()}
    assert (woken["keeper"], woken["logger"]) == (0, 0)
    assert woken["daemon"] <= 2, "under one a second"
    respawn(fleet, 1)
    assert all(sleeps(pid) > before[name] for name, pid in roles.items()), "work is counted, so rest was"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_respawn_takes_so_many_system_calls_and_messages(fleet: Fleet, tmp_path: Path) -> None:
    fleet.write({f"s{number}": SLEEPER for number in range(3)}, figures_period=0)
    fleet.up()
    count = 4
    with ExitStack() as stack:
        traces = {
            name: stack.enter_context(traced(name, pid, tmp_path / f"{name}.trace"))
            for name, pid in roles_of(fleet).items()
        }
        keeper = traces["keeper"]
        # On a busy host the keeper may get its next order long after all seems to be at rest.
        respawn(fleet, 1, is_settled=lambda pid: has_order(pid, keeper()))  # what is done once is done
        before = {name: len(lines()) for name, lines in traces.items()}
        respawn(fleet, count, is_settled=lambda pid: has_order(pid, keeper()))
        done = {name: lines()[before[name] :] for name, lines in traces.items()}
    calls = {
        name: sum("(" in line and " resumed>" not in line for line in lines) / count
        for name, lines in done.items()
    }
    said = [line for line in done["keeper"] if line.startswith(("sendmsg(", "recvmsg("))]
    types = Counter(kind for line in said for kind in re.findall(FRAME, line))
    assert count <= types.pop("note") <= MOST_NOTES * count
    assert types == {kind: number * count for kind, number in MESSAGES.items()}
    assert {name: each for name, each in calls.items() if each > MOST_CALLS[name]} == {}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_status_call_takes_so_many_system_calls_however_many_services_there_are(
    make_fleet: Callable[[str], Fleet], tmp_path: Path
) -> None:
    count, found = 20, dict[int, float]()
    for services in (3, 60):
        fleet = make_fleet(f"calls{services}")
        fleet.write({f"s{number}": SLEEPER for number in range(services)}, figures_period=0)
        fleet.up()
        daemon = roles_of(fleet)["daemon"]
        with traced("daemon", daemon, tmp_path / f"{services}.trace") as lines:
            rest(fleet)
            before = len(lines())
            for _ in range(count):
                assert len(fleet.status()) == services
            rest(fleet)
            done = lines()[before:]
        found[services] = sum("(" in line and " resumed>" not in line for line in done) / count
        fleet.ok("down")
    assert {services: each for services, each in found.items() if each > MOST_CALLS_OF_STATUS} == {}


def memory_of(fleet: Fleet) -> int:
    """Return the bytes that all roles have written to and share with nobody: others do not change these."""
    total = 0
    for pid in roles_of(fleet).values():
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        total += int(next(line for line in text.splitlines() if line.startswith("Private_Dirty:")).split()[1])
    return total * 1024


@pytest.mark.slow
def test_a_further_service_costs_little_memory(make_fleet: Callable[[str], Fleet]) -> None:
    few, many = 10, 110
    found: dict[int, int] = {}
    for count in (few, many):
        fleet = make_fleet(f"memory{count}")
        fleet.write({f"s{number}": SLEEPER for number in range(count)}, figures_period=0)
        fleet.up()
        rest(fleet)
        found[count] = memory_of(fleet)
        fleet.ok("down")
    assert (found[many] - found[few]) / (many - few) < MOST_MEMORY


@pytest.mark.slow
def test_respawns_leave_no_file_descriptor_or_file_and_a_fleet_that_is_down_no_process(fleet: Fleet) -> None:
    fleet.write({f"s{number}": SLEEPER for number in range(3)}, figures_period=0)
    fleet.up()

    def held() -> dict[str, int]:
        return {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in roles_of(fleet).items()}

    def files() -> set[str]:
        return {str(path.relative_to(fleet.path)) for path in fleet.path.rglob("*")}

    respawn(fleet, 2)
    descriptors, before, processes = held(), files(), len(fleet.processes())
    respawn(fleet, 6)
    assert (held(), files(), len(fleet.processes())) == (descriptors, before, processes)
    fleet.ok("down")
    until(lambda: not fleet.processes(), "nothing is left")
    left = [path for path in fleet.home.rglob("*") if path.is_socket() or path.is_fifo()]
    assert (left, files() - before) == ([], set())
