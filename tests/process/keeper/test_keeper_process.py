"""The keeper as a process: quiet when idle, frugal, sure of what it was handed."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestra_supervisor.keeper import boot
from tests.process.keeper_driver import KEEPER_MAIN, Keeper, spawn_message, wait_until

LOG = {"path": "logs/a.log", "options": {"max_bytes": 1000}, "secrets": ["s"]}


def switches(pid: int) -> int:
    """Return how often a process has gone to sleep so far."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    )
    return int(status["voluntary_ctxt_switches"])


def changes_within(pid: int, seconds: float) -> bool:
    """Return whether a process woke up within so many seconds from now."""
    before = switches(pid)
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, "the time passes")
    return switches(pid) != before


@pytest.mark.slow
def test_nothing_wakes_an_idle_keeper(keeper, daemon, logger):
    for number in range(3):
        daemon.request(spawn_message(f"s{number}-1", "sleep", "100", log=LOG))
    daemon.request(spawn_message("stray-1", "sh", "-c", "(setsid sleep 100 &); exit 0"))
    daemon.event("exit", run="stray-1")
    daemon.sync()
    wait_until(lambda: not changes_within(keeper.pid, 0.1), "it has gone to sleep")
    before = switches(keeper.pid)
    assert not changes_within(keeper.pid, 1.0)
    daemon.sync()
    wait_until(lambda: switches(keeper.pid) > before, "work is counted, so idleness was")


def test_nothing_piles_up_over_many_runs(keeper, daemon, logger):
    def descriptors() -> int:
        return len(list(Path(f"/proc/{keeper.pid}/fd").iterdir()))

    before = descriptors()
    for number in range(60):
        run = f"s-{number}"
        daemon.request(spawn_message(run, "true", slot="s", log=LOG))
        daemon.event("gone", run=run)
        daemon.send({"type": "ack", "run": run})
        for stream in ("stdout", "stderr"):
            _, fds = logger.expect(lambda m: m["type"] == "open", "a pipe")
            os.close(fds[0])
            logger.send({"type": "eof", "run": run, "stream": stream})
    logger.send({"type": "event", "kind": "mark"})
    daemon.event("logger", kind="mark")
    assert daemon.hello()[1] == []
    assert descriptors() == before


def test_the_lock_is_held_for_life_and_not_by_children(tmp_path):
    with (tmp_path / "lock").open("wb") as lock, (tmp_path / "lock").open("wb") as other:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Keeper(tmp_path, lock_fd=lock.fileno()) as keeper:
            daemon = keeper.greeted_daemon()
            service = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
            lock.close()
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                keeper.process.kill()
                keeper.wait()
                wait_until(lambda: _takes(other), "the lock is free although the service lives")
            finally:
                os.kill(service, signal.SIGKILL)


def _takes(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_it_starts_with_its_standard_descriptors_closed(tmp_path):
    with Keeper(tmp_path, prefix=["sh", "-c", 'exec 0<&- 1>&- 2>&-; exec "$@"', "sh"]) as keeper:
        daemon = keeper.greeted_daemon()
        daemon.request(spawn_message("a-1", "true", log=LOG))
        assert daemon.event("exit", run="a-1")["code"] == 0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"home": "/x", "lock_fd": "3", "daemon": ["x"], "logger": ["x"]}']
    + [
        json.dumps({"home": "/x", "lock_fd": None, "daemon": wrong, "logger": ["x"]})
        for wrong in ([], "x", [1], ["\0"])
    ],
)
def test_a_wrong_boot_line_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        boot.parse_boot(text)


def test_without_a_boot_line_it_ends_with_a_usage_and_status_two():
    done = subprocess.run(
        [sys.executable, "-I", "-S", KEEPER_MAIN],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=10,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("orchestra keeper: usage: ")


def test_it_imports_nothing_but_the_standard_library_and_the_wire():
    script = f"""
import sys
sys.path.insert(0, {str(Path(KEEPER_MAIN).parents[2])!r})
import orchestra_supervisor.keeper.boot
ours = sorted(m for m in sys.modules if m.startswith("orchestra_supervisor."))
print([m for m in ours if m.split(".")[1] not in ("keeper", "wire", "journald")])
others = {{m.partition(".")[0] for m in sys.modules}} - sys.stdlib_module_names
print(sorted(others - {{"__main__", "orchestra_supervisor"}}))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=10,
    )
    assert done.stdout.split() == ["[]", "[]"]
