"""A tree of the package whose keeper is the fake one, so that `orchestra up` runs as it is."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.cli.holder import keeper_pid_of
from tests.e2e.cli.runner import ROOT

FAKE_KEEPER = """\
import sys
sys.path[:0] = [{root!r}]
from orchestra_supervisor.cli.holder import keeper_pid_of
from tests.e2e.cli.fake_fleet import main
main()
"""
FAKE_CHECK = '''\
"""A fake of the check: finds what the test wrote into the file."""
import json
from pathlib import Path


def run_check(paths, *, as_json, preflight, stream):
    return run_check_for_up(paths, stream=stream)


def run_check_for_up(paths, *, stream):
    for path in paths:
        broken = json.loads(Path(path).read_text(encoding="utf-8")).get("broken")
        if broken:
            print(f"{path}:1: error: {broken}", file=stream)
            return 3
    return 0
'''


@pytest.fixture(scope="session")
def fake_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the package, its keeper and check replaced by fakes."""
    root = tmp_path_factory.mktemp("tree")
    package = root / "orchestra_supervisor"
    shutil.copytree(ROOT / "orchestra_supervisor", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "keeper" / "__main__.py").write_text(FAKE_KEEPER.format(root=str(ROOT)), encoding="utf-8")
    (package / "config" / "command.py").write_text(FAKE_CHECK, encoding="utf-8")
    return root


class Bench:
    """A directory with a scenario, and what `up` left there."""

    def __init__(self, path: Path, tree: Path) -> None:
        self.path = path
        self.home = path / ".orchestra"
        self.env = {"PYTHONPATH": str(tree)}

    def play(self, services: dict[str, object], **scenario: object) -> None:
        """Write the configuration file."""
        text = json.dumps({"fake": {"services": services, **scenario}})
        (self.path / "orchestra.json").write_text(text, encoding="utf-8")

    def record(self) -> dict[str, object]:
        """Return what the fake keeper wrote down of its start."""
        return json.loads((self.home / "fake.json").read_text(encoding="utf-8"))

    def end(self) -> None:
        """End the fake keeper that a test has left: the holder of the lock, while that pid is still it."""
        pid = keeper_pid_of(self.home)
        if not pid:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        try:
            if str(self.home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            pass
        finally:
            os.close(pidfd)


@pytest.fixture
def bench(tmp_path: Path, fake_tree: Path) -> Iterator[Bench]:
    """Return an empty bench; nothing of it runs when the test has ended."""
    bench = Bench(tmp_path, fake_tree)
    yield bench
    bench.end()


def eventually(claim: object, limit: float = 10.0) -> None:
    """Wait until a claim holds."""
    until = time.monotonic() + limit
    while not claim():  # type: ignore[operator]
        assert time.monotonic() < until, "the claim did not come true in time"
        time.sleep(0.01)
