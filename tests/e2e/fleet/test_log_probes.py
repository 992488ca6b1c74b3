"""Services that say in their output that they are ready."""

import gzip
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, python, until

# Says what it is told to, each time it is told to; its first run says it unasked.
SPEAKER = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os.write(2, b"listening on 80\\n"))
signal.signal(signal.SIGUSR2, lambda *_: os.write(1, b"x" * 200_000 + b"\\n"))
os.write(1, b"here\\n")
if not os.path.exists(sys.argv[1]):
    open(sys.argv[1], "w").close()
    os.write(2, b"listening on 80\\n")
while True:
    signal.pause()
"""
QUICK = {"period": "50ms", "timeout": "2s"}


@pytest.fixture(scope="module")
def speakers(make_fleet: Callable[[str], Fleet]) -> Fleet:
    fleet = make_fleet("speakers")
    command = {name: python(SPEAKER, fleet.path / name) for name in ("raw", "json", "start")}
    ready = {"readiness": {"log": {"pattern": r"^listening on \d+$", "stream": "stderr"}, **QUICK}}
    fleet.write(
        {
            "raw": {"command": command["raw"], "probes": ready, "log": {"max_bytes": 100_000, "backups": 2}},
            "json": {"command": command["json"], "probes": ready, "log": {"format": "json"}},
            "start": {
                "command": command["start"],
                "probes": {"startup": {"log": "^listening", "failure_threshold": 1000, **QUICK}},
            },
        }
    )
    fleet.run("up", "--detach")
    fleet.ok("wait", *command, "--for", "ready", "--timeout", "15")
    return fleet


def _run_anew(fleet: Fleet, name: str) -> int:
    pid = fleet.pid(name)
    fleet.kill(pid)
    until(lambda: fleet.service(name)["pid"] not in {pid, None}, "another run")
    until(lambda: b"here" in fleet.log(name).split(b"listening on 80")[-1], "it can be spoken to")
    return fleet.pid(name)


@pytest.mark.parametrize(("name", "waits"), [("raw", "running"), ("json", "running"), ("start", "starting")])
def test_a_service_is_ready_once_its_run_says_so(speakers: Fleet, name: str, waits: str) -> None:
    pid = _run_anew(speakers, name)
    speakers.until_state(name, waits)
    said = until(lambda: speakers.service(name)["probe_error"], "a look")
    assert str(said).startswith("no line matches /^listening"), "the last run's line is not its own"
    os.kill(pid, signal.SIGUSR1)
    assert speakers.until_state(name, "ready")["pid"] == pid


@pytest.mark.slow
def test_a_line_that_was_written_while_no_daemon_lived_counts(speakers: Fleet) -> None:
    pid = _run_anew(speakers, "json")
    old = speakers.kill_daemon()
    os.kill(pid, signal.SIGUSR1)
    assert until(lambda: speakers.daemon()["pid"] != old, "a new daemon")
    assert speakers.until_state("json", "ready")["pid"] == pid


@pytest.mark.slow
def test_a_service_stays_ready_when_its_line_is_gone_and_the_daemon_replaced(speakers: Fleet) -> None:
    pid = speakers.until_state("raw", "ready")["pid"]
    assert isinstance(pid, int)
    logs = speakers.home / "logs"

    def is_gone() -> bool:
        os.kill(pid, signal.SIGUSR2)
        return not any(b"listening" in _read(path) for path in logs.glob("raw.log*"))

    until(is_gone, "the line is nowhere any more")
    old = speakers.kill_daemon()
    assert until(lambda: speakers.daemon()["pid"] != old, "a new daemon")
    speakers.ok("wait", "raw", "--for", "ready", "--timeout", "10")
    assert speakers.pid("raw") == pid
    assert not speakers.events("service.unhealthy", "raw")


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (FileNotFoundError, EOFError):  # removed meanwhile, or being packed
        return b""
