"""The keeper as pid 1 of a pid namespace, operated from inside its home and from outside the namespace."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DEADLINE = 30.0
ENTER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def _may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ENTER, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _may_unshare(), reason="no right to make a pid namespace here")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, f"not within {DEADLINE} s: {what}"
        time.sleep(0.02)


class Contained:
    """A fleet whose keeper is pid 1 of a namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / ".orchestra"
        services = {
            "web": {"command": ["sleep", "1000"]},
            "job": {"kind": "once", "command": "(setsid sleep 0.01 &) ; echo done", "depends_on": ["web"]},
        }
        (folder / "orchestra.json").write_text(json.dumps({"services": services}), encoding="utf-8")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRA_")}
        self.words = [sys.executable, "-P", "-m", "orchestra_supervisor"]
        self.messages = (folder / "messages").open("w+b")
        self.process = subprocess.Popen(
            [*ENTER, *self.words, "up", "--exec"],
            cwd=folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self.messages,
            stderr=self.messages,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.words, *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=DEADLINE,
            check=False,
        )

    def is_settled(self) -> bool:
        done = self.run("status", "--json")
        return done.returncode == 0 and json.loads(done.stdout)["daemon"]["phase"] == "running"

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # ours; --kill-child ends the namespace with it
        self.process.wait(DEADLINE)
        self.messages.close()


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[Contained]:
    fleet = Contained(tmp_path)
    yield fleet
    fleet.close()


def test_a_keeper_that_is_pid_1_runs_a_fleet_and_reaps_orphans(contained: Contained) -> None:
    wait_until(contained.is_settled, "the fleet is settled")
    status = json.loads(contained.run("status", "--json").stdout)
    assert status["daemon"]["keeper_pid"] == 1
    assert {row["name"]: row["state"] for row in status["services"]} == {"web": "ready", "job": "completed"}
    done = contained.run("down")
    assert done.returncode == 0, done.stderr
    assert contained.process.wait(DEADLINE) == 0


def test_down_from_outside_never_takes_the_keepers_number_for_ours(contained: Contained) -> None:
    wait_until(contained.is_settled, "the fleet is settled")
    assert (contained.home / "lock").read_text(encoding="ascii").split()[0] == "1"
    began = time.monotonic()
    done = contained.run("down", "--timeout", "20")
    assert (done.returncode, "all stopped" in done.stderr) == (0, True), done.stderr
    assert time.monotonic() - began < 15, "it waits for the keeper's lock, not for our own pid 1"
