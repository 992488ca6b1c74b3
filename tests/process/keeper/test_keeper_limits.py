"""Limits by control group: held by the kernel in version 1; of version 2 only the words are looked at."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestra_supervisor.keeper.cgroups import _settings
from orchestra_supervisor.keeper.request import Limits
from tests.process.cgroup_driver import groups_of, made_group, root_of
from tests.process.keeper_driver import Keeper, is_alive, spawn_message, wait_until

MB = 1024 * 1024
CONTROLLERS = ("memory", "pids", "cpu")
HOG = "import sys, time\nhold = []\nwhile True: hold.append(bytearray(1 << 20)); time.sleep(0.001)"
needs_controllers = pytest.mark.skipif(
    any(root_of(kind) is None for kind in CONTROLLERS),
    reason="no controllers of version 1 that may be used here",
)


@pytest.fixture
def bases() -> Iterator[dict[str, Path]]:
    with ExitStack() as stack:
        kinds = [kind for kind in ("v2", *CONTROLLERS) if root_of(kind) is not None]
        yield {kind: stack.enter_context(made_group(kind)) for kind in kinds}


@pytest.fixture
def keeper(tmp_path, bases):
    with Keeper(tmp_path, cgroups=[str(path) for path in bases.values()], mark="home1") as running:
        yield running
        assert "a fault of ours" not in running.stderr()


@pytest.fixture
def daemon(keeper):
    return keeper.greeted_daemon()


def group_in(base: Path, slot: str) -> Path:
    return next(path for path in base.iterdir() if path.name.startswith(f"{slot}."))


def python(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script]


@needs_controllers
def test_the_daemon_is_told_what_can_be_limited(keeper):
    welcome, _ = keeper.daemon().hello()
    assert welcome["cgroups"]["limits"] == ["cpu", "memory", "pids"]


@needs_controllers
def test_a_memory_hog_is_ended_at_its_limit_and_neighbours_are_not(daemon):
    neighbour = daemon.request(spawn_message("b-1", "sleep", "100"))["pid"]
    daemon.request(spawn_message("a-1", *python(HOG), limits={"memory": 32 * MB}))
    told = daemon.event("exit", run="a-1")
    assert (told["signal"], told["out_of_memory"]) == ("SIGKILL", True)
    daemon.event("gone", run="a-1")
    assert is_alive(neighbour)


@needs_controllers
def test_an_ordinary_end_is_not_taken_for_a_want_of_memory(daemon):
    daemon.request(spawn_message("a-1", "sh", "-c", "kill -9 $$", limits={"memory": 32 * MB}))
    assert daemon.event("exit", run="a-1")["out_of_memory"] is False


@needs_controllers
def test_a_service_that_forks_without_end_stays_within_its_number(daemon, bases, tmp_path):
    script = f"""
import os, time
count = 0
try:
    while count < 200:
        if not os.fork(): time.sleep(100)
        count += 1
except BlockingIOError:
    open({str(tmp_path / "told")!r}, "w").write(f"{{count}}\\n")
time.sleep(100)
"""
    daemon.request(spawn_message("a-1", *python(script), limits={"pids": 20}, stop={"steps": []}))
    told = tmp_path / "told"
    wait_until(lambda: told.exists() and told.read_text(encoding="utf-8").endswith("\n"), "it was refused")
    assert int(told.read_text(encoding="utf-8")) == 19
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")


@needs_controllers
def test_processor_time_is_set_and_every_limit_can_change_while_it_runs(daemon, bases):
    limits = {"cpu": 0.5, "memory": 64 * MB, "pids": 10}
    pid = daemon.request(spawn_message("a-1", "sleep", "100", limits=limits))["pid"]
    groups = {kind: group_in(bases[kind], "a") for kind in CONTROLLERS}
    assert groups_of(pid).count(groups["cpu"].name) == len(bases)

    def read() -> tuple[str, ...]:
        files = (
            groups["cpu"] / "cpu.cfs_quota_us",
            groups["memory"] / "memory.limit_in_bytes",
            groups["pids"] / "pids.max",
        )
        return tuple(file.read_text(encoding="ascii").strip() for file in files)

    assert read() == ("50000", str(64 * MB), "10")
    new = {"cpu": 2, "memory": 128 * MB, "pids": None}
    assert daemon.request({"type": "limits", "run": "a-1", "limits": new})["type"] == "ok"
    assert read() == ("200000", str(128 * MB), "max")


def test_a_run_without_limits_needs_no_group_that_only_limits(daemon, bases):
    if "v2" not in bases:
        pytest.skip("no version 2 here")
    daemon.request(spawn_message("a-1", "sleep", "100"))
    made = {kind for kind, base in bases.items() if any(path.is_dir() for path in base.iterdir())}
    assert made == {"v2"}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"memory": 0}, "memory is 0"),
        ({"cpu": 0}, "cpu is 0"),
        ({"cpu": True}, "cpu is True"),
        ({"pids": "many"}, "pids is 'many'"),
        ([], "limits is []"),
    ],
)
def test_limits_that_make_no_sense_are_refused(daemon, wrong, text):
    answer = daemon.request(spawn_message("a-1", "sleep", "100", limits=wrong))
    assert answer["code"] == "bad_message"
    assert text in answer["message"]


def test_version_2_is_written_in_its_own_words():
    limits = Limits(memory=MB, cpu=1.5, pids=7)
    written = {name: list(_settings(name, 2, limits)) for name in CONTROLLERS}
    assert written == {
        "memory": [("memory.max", "1048576"), ("memory.oom.group", "1")],
        "pids": [("pids.max", "7")],
        "cpu": [("cpu.max", "150000 100000")],
    }
    unlimited = [value for name in CONTROLLERS for _, value in _settings(name, 2, Limits())]
    assert unlimited == ["max", "0", "max", "max 100000"]
