"""Control groups: one more mark, used where there are some, missed nowhere."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.cgroup_driver import groups_of, made_group, root_of
from tests.process.keeper_driver import Keeper, is_alive, spawn_message, wait_until

PLAN = {"steps": [["SIGTERM", 0.3]], "scope": "group"}
KINDS = [kind for kind in ("v2", "memory") if root_of(kind)]
pytestmark = pytest.mark.skipif(not KINDS, reason="no control group can be made here")


@pytest.fixture(params=KINDS or ["none"])
def base(request):
    with made_group(request.param) as path:
        yield path


@pytest.fixture
def grouped(tmp_path, base):
    with Keeper(tmp_path, cgroups=[str(base)], mark="home1") as keeper:
        yield keeper.greeted_daemon()
        assert "a fault of ours" not in keeper.stderr()


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text(encoding="utf-8").endswith("\n"), f"a pid in {path}")
    return int(path.read_text(encoding="utf-8"))


def below(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if path.is_dir())


def test_a_run_lives_in_a_group_of_its_own_that_goes_with_it(grouped, base):
    pid = grouped.request(spawn_message("web-1", "sleep", "100", stop=PLAN))["pid"]
    other = grouped.request(spawn_message("db-1", "sleep", "100", stop=PLAN))["pid"]
    names = below(base)
    assert [name.partition(".")[0] for name in names] == ["db", "web"]
    assert names[1] in groups_of(pid)
    assert names[1] not in groups_of(other)
    grouped.request({"type": "stop", "run": "web-1"})
    grouped.event("gone", run="web-1")
    grouped.sync()
    assert below(base) == names[:1]


def test_the_daemon_is_told_what_runs_are_known_by(tmp_path, base):
    with Keeper(tmp_path, cgroups=[str(base)], mark="home1") as keeper:
        welcome, _ = keeper.daemon().hello()
    told = welcome["cgroups"]
    version = 2 if (base / "cgroup.controllers").exists() else 1
    assert (told["version"], told["bases"], told["mark"]) == (version, [str(base)], "home1")


def test_a_process_without_any_other_mark_whose_parent_crashed_is_known_and_stopped(grouped, tmp_path):
    # No limit, no environment, no session; and nobody walked the tree while its parent lived.
    inner = f"echo $$ > {tmp_path}/pid; exec /usr/bin/env sleep 100"
    script = (
        f"(env -i setsid /bin/sh -c '{inner}' &); "
        f"while ! [ -s {tmp_path}/pid ]; do sleep 0.01; done; kill -9 $$"
    )
    grouped.request(spawn_message("a-1", "prlimit", "--locks=unlimited", "sh", "-c", script, stop=PLAN))
    stray = pid_in(tmp_path / "pid")
    assert grouped.event("exit", run="a-1")["remaining"] == [stray]
    grouped.request({"type": "stop", "run": "a-1"})
    grouped.event("gone", run="a-1")
    assert not is_alive(stray)


def test_what_a_service_puts_into_groups_below_its_own_is_stopped_and_they_are_removed(
    grouped, base, tmp_path
):
    script = f"""
import os, pathlib, time
group = next(pathlib.Path({str(base)!r}).glob("a.*")) / "inner"
group.mkdir()
if not os.fork():
    (group / "cgroup.procs").write_text("0")
    pathlib.Path({str(tmp_path / "pid")!r}).write_text(f"{{os.getpid()}}\\n")
time.sleep(100)
"""
    grouped.request(spawn_message("a-1", sys.executable, "-I", "-S", "-c", script, stop=PLAN))
    inner = pid_in(tmp_path / "pid")
    grouped.request({"type": "stop", "run": "a-1"})
    grouped.event("gone", run="a-1")
    grouped.sync()
    assert not is_alive(inner)
    assert below(base) == []


def test_a_process_that_leaves_its_group_is_still_known_by_the_other_marks(grouped, base, tmp_path):
    inner = f"echo 0 > {base}/cgroup.procs; echo $$ > {tmp_path}/pid; exec sleep 100"
    script = f"(setsid sh -c '{inner}' &); exec sleep 100"
    grouped.request(spawn_message("a-1", "sh", "-c", script, stop=PLAN))
    stray = pid_in(tmp_path / "pid")
    grouped.request({"type": "stop", "run": "a-1"})
    grouped.event("gone", run="a-1")
    assert not is_alive(stray)


def test_whoever_forks_all_the_time_is_ended(grouped, tmp_path):
    script = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write("1\\n")
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
"""
    argv = [sys.executable, "-I", "-S", "-c", script, str(tmp_path / "up")]
    grouped.request(spawn_message("a-1", *argv, stop={"steps": []}))
    pid_in(tmp_path / "up")
    grouped.event("exit", run="a-1")
    grouped.request({"type": "stop", "run": "a-1"})
    grouped.event("gone", run="a-1")


def test_an_exec_that_fails_leaves_no_group(grouped, base):
    failed = grouped.request(spawn_message("a-1", "/nonexistent/program"))
    assert (failed["type"], failed["stage"]) == ("spawn_failed", "exec")
    grouped.sync()
    assert below(base) == []


def test_empty_groups_of_earlier_keepers_of_this_home_are_removed_and_no_others(tmp_path, base):
    (base / "web.home1.0badcafe-7" / "inner").mkdir(parents=True)
    (base / "web.home2.0badcafe-7").mkdir()
    (base / "theirs").mkdir()
    with Keeper(tmp_path, cgroups=[str(base)], mark="home1") as keeper:
        keeper.greeted_daemon()
        assert below(base) == ["theirs", "web.home2.0badcafe-7"]


def test_a_group_that_cannot_be_used_is_told_and_services_run_without(tmp_path):
    with Keeper(tmp_path, cgroups=[str(tmp_path / "missing")]) as keeper:
        daemon = keeper.greeted_daemon()
        keeper.says("missing: is not a control group; runs are known without control groups")
        assert daemon.request(spawn_message("a-1", "sleep", "100", stop=PLAN))["type"] == "spawned"


def test_a_base_that_vanishes_is_told_and_the_next_service_still_starts(tmp_path):
    with made_group(KINDS[0]) as base, Keeper(tmp_path, cgroups=[str(base)]) as keeper:
        daemon = keeper.greeted_daemon()
        base.rmdir()
        assert daemon.request(spawn_message("a-1", "sleep", "100", stop=PLAN))["type"] == "spawned"
        keeper.says("a: no control group: No such file or directory")


FIND = """
import sys; sys.path.insert(0, {root!r})
from orchestra_supervisor.keeper.cgroups import find_delegated
print([one.base for one in find_delegated()])
"""


@pytest.mark.skipif("v2" not in KINDS, reason="no version 2 here")
@pytest.mark.parametrize("is_marked", [True, False])
def test_our_own_group_is_ours_when_its_manager_says_so(is_marked):
    root = str(Path(__file__).parents[3])
    with made_group("v2") as base:
        if is_marked:
            os.setxattr(base, "user.delegate", b"1")
        enter = f'echo 0 > {base}/cgroup.procs; exec "$@"'
        done = subprocess.run(
            ["sh", "-c", enter, "sh", sys.executable, "-I", "-S", "-c", FIND.format(root=root)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
            timeout=10,
        )
        assert done.stdout.strip() == str([str(base)] if is_marked else [])


@pytest.mark.skipif("v2" not in KINDS, reason="no version 2 here")
def test_a_keeper_that_is_killed_leaves_groups_that_the_next_one_does_not_take_for_empty(tmp_path):
    with made_group("v2") as base, Keeper(tmp_path, cgroups=[str(base)], mark="home1") as keeper:
        daemon = keeper.greeted_daemon()
        pid = daemon.request(spawn_message("a-1", "sleep", "100"))["pid"]
        name = below(base)[0]
        keeper.signal(signal.SIGKILL)
        keeper.wait()
        with Keeper(tmp_path, cgroups=[str(base)], mark="home1") as after:
            after.greeted_daemon()
            assert below(base) == [name]
            assert name in groups_of(pid)
        os.kill(pid, signal.SIGKILL)  # ours: the keeper above was the only one that could have reaped it
