"""The same commands against the real keeper, logger and daemon."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import eventually
from tests.e2e.cli.runner import argv, environment, orchestra
from tests.e2e.cli.terminal_driver import seated

WEB = """
import http.server, sys
print("web is up", flush=True)
print("web complains", file=sys.stderr, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class RealFleet:
    """A directory with a configuration of two services and a job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / ".orchestra"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (path / "web.py").write_text(WEB, encoding="utf-8")
        url = f"http://127.0.0.1:{self.port}/"
        self.write(
            {
                "setup": {
                    "kind": "once",
                    "command": [sys.executable, "-c", "print('set up')"],
                    "restart": "never",
                },
                "web": {
                    "command": [sys.executable, "web.py", str(self.port)],
                    "url": url,
                    "port": self.port,
                    "depends_on": {"setup": "completed"},
                    "probes": {"readiness": {"http": url, "period": "50ms"}},
                },
                "off": {"command": ["sleep", "1000"], "enabled": False},
            }
        )

    def write(self, services: dict[str, object]) -> None:
        text = json.dumps({"services": services})
        (self.path / "orchestra.json").write_text(text, encoding="utf-8")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return orchestra(*words, cwd=self.path)

    def status(self) -> dict[str, dict[str, object]]:
        answer = json.loads(self.run("status", "--json").stdout)
        return {row["name"]: row for row in answer["services"]} | {"daemon": answer["daemon"]}


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealFleet]:
    fleet = RealFleet(tmp_path)
    yield fleet
    fleet.run("down", "--timeout", "15")


def test_a_fleet_comes_up_is_operated_and_goes_down(real: RealFleet) -> None:
    up = real.run("up", "--detach")
    assert (up.returncode, up.stderr) == (0, "")
    assert f"http://127.0.0.1:{real.port}/" in up.stdout
    table = real.run("status").stdout
    assert "● web" in table
    assert "✓ setup" in table
    assert "○ off" in table
    before = real.status()
    assert before["web"]["state"] == "ready"
    assert before["daemon"]["keeper_pid"] == int((real.home / "lock").read_text(encoding="utf-8").split()[0])

    assert real.run("up").returncode == 8
    assert real.run("restart", "web", "--reason", "a test").returncode == 0
    after = real.status()
    assert after["web"]["state"] == "ready"
    assert after["web"]["pid"] != before["web"]["pid"]
    stopped = real.run("stop", "web")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert stopped.stdout.startswith("● web  ready → stopped")
    assert real.run("wait", "web", "--for", "stopped", "--timeout", "5").returncode == 0
    assert real.run("wait", "web", "--for", "ready", "--timeout", "0.2").returncode == 7
    assert real.run("signal", "web", "HUP").returncode == 8
    assert real.run("start", "web").returncode == 0
    assert real.run("status", "wbe").returncode == 5

    logs = real.run("logs", "web")
    assert logs.stdout.count("web is up\n") == 3
    assert logs.stdout.count("web complains\n") == 3
    assert "set up" in real.run("logs").stdout
    events = real.run("events", "--kind", "control", "-n", "20").stdout
    assert "restart web" in events

    down = real.run("down")
    assert (down.returncode, down.stdout) == (0, "")
    assert not (real.home / "control.sock").exists()
    assert "web is up" in real.run("logs", "web").stdout, "logs outlive the fleet"
    assert real.run("status").returncode == 4


def test_a_reload_adds_and_removes_and_a_broken_file_changes_nothing(real: RealFleet) -> None:
    assert real.run("up", "--detach").returncode == 0
    pid = real.status()["web"]["pid"]
    good = json.loads((real.path / "orchestra.json").read_text(encoding="utf-8"))["services"]
    real.write(good | {"extra": {"command": ["sleep", "1000"]}})
    done = real.run("reload")
    assert done.returncode == 0
    assert "+ extra  started" in done.stdout
    assert "1 added" in done.stdout
    (real.path / "orchestra.json").write_text('{"services": {"web": 7}}', encoding="utf-8")
    refused = real.run("reload")
    assert refused.returncode == 3
    assert "orchestra.json:1" in refused.stderr
    assert real.status()["web"]["pid"] == pid


def test_commands_span_the_death_of_the_daemon(real: RealFleet) -> None:
    assert real.run("up", "--detach").returncode == 0
    before = real.status()
    os.kill(int(str(before["daemon"]["pid"])), signal.SIGKILL)
    assert real.run("logs", "web").returncode == 0
    after = real.status()
    assert after["daemon"]["pid"] != before["daemon"]["pid"]
    assert after["web"]["pid"] == before["web"]["pid"]


def test_a_wrong_file_starts_nothing(real: RealFleet) -> None:
    (real.path / "orchestra.json").write_text('{"services": {"web": {"comand": "x"}}}', encoding="utf-8")
    done = real.run("up", "--detach")
    assert done.returncode == 3
    assert "orchestra.json:1" in done.stderr
    assert "nothing was started" in done.stderr
    assert not (real.home / "control.sock").exists()


def test_a_fleet_in_the_foreground_ends_with_ctrl_c_and_leaves_nothing(real: RealFleet) -> None:
    with seated("up", cwd=real.path) as seat:
        at = seat.until("2 ready of 2")
        at = seat.until("web complains", at)
        pid = int(str(real.status()["web"]["pid"]))
        seat.press(b"\x03")
        seat.until("all stopped in", at)
        assert seat.end() == 0
    assert not Path(f"/proc/{pid}").exists()
    assert real.run("status").returncode == 4


def test_a_killed_keeper_is_said_and_the_next_up_takes_over(real: RealFleet) -> None:
    with subprocess.Popen(
        argv("up"),
        cwd=real.path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as child:
        assert child.stdout is not None
        while "2 ready of 2" not in child.stdout.readline():
            pass
        before = real.status()
        os.kill(int(str(before["daemon"]["keeper_pid"])), signal.SIGKILL)
        _, said = child.communicate(timeout=15)
    assert child.returncode == 1
    assert "ended unexpectedly: killed by SIGKILL" in said
    up = real.run("up", "--detach")
    assert up.returncode == 0, up.stderr
    after = real.status()
    assert after["web"]["state"] == "ready"
    eventually(lambda: not Path(f"/proc/{before['web']['pid']}").exists())


def test_status_answers_within_its_budget(real: RealFleet) -> None:
    assert real.run("up", "--detach").returncode == 0
    words = argv("status", "--home", str(real.home))
    real.run("status")
    took: list[float] = []
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run(
            words, cwd=real.path, env=environment(), stdout=subprocess.DEVNULL, timeout=10, check=True
        )
        took.append(time.perf_counter() - began)
    # 60 ms is the promise on a quiet machine; a test on a busy one only catches a heavy import.
    assert min(took) < 0.3
