"""Programs that the keeper starts without a fork of itself: everything is as it is after one."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.process.keeper_driver import Keeper, Peer, is_alive, spawn_message, wait_until

# Tells what it finds, then waits.
TELL = """
import json, os, resource, signal, sys
umask = os.umask(0)
os.umask(umask)
fds = {}
for name in range(64):
    try:
        fds[name] = os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        continue
with open(sys.argv[1] + ".new", "w") as file:
    json.dump({
        "argv": sys.argv[2:],
        "env": dict(os.environ),
        "cwd": os.getcwd(),
        "umask": umask,
        "session": os.getsid(0) == os.getpid() == os.getpgid(0),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "stack": resource.getrlimit(resource.RLIMIT_STACK),
        "marked": resource.getrlimit(10)[0] != resource.RLIM_INFINITY,
        "fds": [(name, place.partition("[")[0]) for name, place in fds.items()],
    }, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.pause()
"""
EXTRAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "log": {"log": {"path": "x"}},
    "umask": {"umask": 0o027},
    "cwd": {"cwd": "/usr"},
    "stdio": {"stdio": True, "log": {"path": "x"}},
    "stdin": {"stdin": True},
    "notify": {"notify": True},
    "no cwd": {"cwd": None},
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_program_finds_what_it_finds_after_a_fork(daemon: Peer, tmp_path: Path, extra: str) -> None:
    found: list[dict[str, Any]] = []
    for way, is_direct in (("fork", False), ("direct", True)):
        path = tmp_path / way
        argv = (sys.executable, "-I", "-S", "-c", TELL, str(path), "one", "two words", "ü")
        reply = daemon.request(spawn_message(f"{way}-1", *argv, direct=is_direct, **EXTRAS[extra]))
        assert reply["type"] == "spawned", reply
        wait_until(path.exists, f"{path} is written")
        facts = json.loads(path.read_text(encoding="utf-8"))
        assert facts["env"].pop("ORCHESTRA_RUN_ID") == f"{way}-1"
        assert bool(facts["env"].pop("NOTIFY_SOCKET", None)) == (extra == "notify")
        found.append(facts)
    assert found[0] == found[1]
    assert found[0]["argv"] == ["one", "two words", "ü"]
    assert found[0]["session"]
    assert found[0]["marked"]


def test_no_signal_is_ignored_or_held_back(daemon: Peer, tmp_path: Path) -> None:
    script = f"grep ^Sig /proc/self/status > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/told"
    daemon.request(spawn_message("a-1", "sh", "-c", script, direct=True))
    wait_until((tmp_path / "told").exists, "it has told")
    lines = dict(line.split(":\t") for line in (tmp_path / "told").read_text(encoding="utf-8").splitlines())
    # posix_spawn of the GNU library leaves its own two, 32 and 33, ignored: nobody else uses those.
    assert (int(lines["SigBlk"], 16), int(lines["SigIgn"], 16) & ~0x1_8000_0000) == (0, 0)


def test_the_keeper_stays_as_it_was(keeper: Keeper, daemon: Peer) -> None:
    def facts() -> tuple[str, str, str, int]:
        place = Path(f"/proc/{keeper.pid}")
        umask = next(
            line
            for line in (place / "status").read_text(encoding="ascii").splitlines()
            if line.startswith("Umask")
        )
        fds = len(list((place / "fd").iterdir()))
        return str((place / "cwd").readlink()), umask, (place / "limits").read_text(encoding="ascii"), fds

    before = facts()
    for number in range(20):
        extra = {"umask": 0o027, "cwd": "/usr", "log": None, "direct": True}
        name = "sleep" if number % 2 else "no-such-program"
        daemon.request(spawn_message(f"a-{number}", name, "1000", slot=f"a{number}", **extra))
    for number in range(1, 20, 2):
        daemon.request({"type": "stop", "run": f"a-{number}"})
        daemon.event("gone", run=f"a-{number}")
    daemon.sync()
    assert facts() == before


@pytest.mark.parametrize(
    ("argv", "extra"),
    [
        (["no-such-program"], {}),
        (["/no/such/program"], {}),
        (["/etc/passwd"], {}),
        (["/usr"], {}),
        (["sleep", "1"], {"cwd": "/no/such/directory"}),
        (["TEXT"], {}),
    ],
    ids=["name", "path", "not executable", "directory", "cwd", "no program"],
)
def test_what_fails_is_told_as_after_a_fork(
    daemon: Peer, tmp_path: Path, argv: list[str], extra: dict[str, Any]
) -> None:
    (tmp_path / "text").write_bytes(b"\0\0neither script nor program")
    (tmp_path / "text").chmod(0o755)
    argv = [str(tmp_path / "text") if word == "TEXT" else word for word in argv]
    told: list[dict[str, object]] = []
    for way, is_direct in (("fork", False), ("direct", True)):
        reply = daemon.request(spawn_message(f"{way}-1", *argv, direct=is_direct, **extra))
        assert reply["type"] == "spawn_failed"
        told.append({key: reply[key] for key in ("stage", "errno", "message")})
    assert told[0] == told[1]


def test_a_name_is_looked_for_as_after_a_fork(daemon: Peer, tmp_path: Path) -> None:
    """Passed over: a directory of the name, a file that may not be executed, a place that is none."""
    for place in ("one", "two", "three"):
        (tmp_path / place).mkdir()
    (tmp_path / "one" / "program").mkdir()
    (tmp_path / "two" / "program").write_text("no program", encoding="utf-8")
    (tmp_path / "three" / "program").symlink_to("/bin/sleep")
    path = ":".join(str(tmp_path / place) for place in ("none", "one", "two", "three"))
    reply = daemon.request(spawn_message("a-1", "program", "1000", env={"PATH": path}, direct=True))
    assert reply["type"] == "spawned", reply
    assert Path(f"/proc/{reply['pid']}/exe").samefile("/bin/sleep")


def test_its_end_is_told_and_what_follows_is_started_the_same_way(daemon: Peer) -> None:
    order = {"key": "k", "next": {"run": "a-2", "min_life": 0, "unless": [], "needs": []}, "direct": True}
    daemon.send({"type": "hello", "id": 1, "version": 2, "pid": daemon.pid, "again": True})
    pid = daemon.request(spawn_message("a-1", "sleep", "1000", **order))["pid"]
    os.kill(pid, signal.SIGKILL)
    assert daemon.event("exit", run="a-1")["signal"] == "SIGKILL"
    assert daemon.event("gone", run="a-1")["next"] == "a-2"
    follower = daemon.event("spawned", run="a-2")["pid"]
    daemon.request({"type": "stop", "run": "a-2"})
    daemon.event("gone", run="a-2")
    assert not is_alive(follower)


def test_one_that_ends_at_once_is_told_to_have_started(daemon: Peer) -> None:
    for number in range(50):
        run = f"a-{number}"
        assert daemon.request(spawn_message(run, "false", direct=True))["type"] == "spawned"
        assert daemon.event("exit", run=run)["code"] == 1
        daemon.event("gone", run=run)
        daemon.send({"type": "ack", "run": run})


def test_output_is_handed_to_the_logger(daemon: Peer, logger: Peer) -> None:
    argv = ("sh", "-c", "echo to-out; echo to-err >&2; sleep 1000")
    daemon.request(spawn_message("a-1", *argv, log={"path": "x"}, direct=True))
    for stream, text in (("stdout", b"to-out\n"), ("stderr", b"to-err\n")):
        _, (fd,) = logger.expect(
            lambda message, stream=stream: message["type"] == "open" and message["stream"] == stream, stream
        )
        os.set_blocking(fd, True)
        assert os.read(fd, 100) == text
        os.close(fd)
