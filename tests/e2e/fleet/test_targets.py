"""Services that run elsewhere: what a target makes of a run, in a real fleet; and real containers."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import ROOT, Fleet, python, until
from tests.unit.plugin_api.plugin_files import write_plugin

STAY = """
import os, signal
os.write(1, f'box={os.environ["BOX"]} word={os.environ["WORD"]}\\n'.encode())
signal.pause()
"""

TARGET = """
from orchestra_supervisor.plugin_api.target import LocalRun
class Boxed:
    name = "boxed"
    def faults(self, request):
        if "limits" in request.uses:
            return ["a box has no limits"]
        return [f"unknown option {key!r}" for key in request.options if key not in {"box", "fail"}]
    async def prepare(self, request):
        if request.options.get("fail"):
            raise OSError("no box is free")
        note = ("/bin/sh", "-c", 'echo "$0 $ORCHESTRA_SERVICE" >> "$ORCHESTRA_HOME/boxes"')
        assert set(request.env) == {"WORD", "ORCHESTRA_HOME", "ORCHESTRA_SERVICE"}, sorted(request.env)
        env = {"BOX": request.options["box"]}
        return LocalRun(request.argv, env, before=((*note, "open"),), after=((*note, "close"),))

@hookimpl
def register_targets(context): return [Boxed()]
"""


def boxed(fleet: Fleet, **options: object) -> dict[str, object]:
    write_plugin(fleet.path, TARGET, "boxes.py")
    return {
        "command": python(STAY),
        "env": {"WORD": "secret:word"},
        "target": {"name": "boxed", "options": {"box": "7", **options}},
    }


def settings(fleet: Fleet) -> dict[str, object]:
    secrets = fleet.path / "secrets.json"
    secrets.write_text(json.dumps({"word": "s3cret-word"}), encoding="utf-8")
    secrets.chmod(0o600)
    return {"plugins": ["./boxes.py"], "secrets_file": "secrets.json"}


def boxes(fleet: Fleet) -> list[str]:
    return (fleet.path / ".orchestra" / "boxes").read_text(encoding="utf-8").splitlines()


def test_a_target_gets_the_run_with_its_secrets_and_its_commands_surround_it(fleet: Fleet) -> None:
    fleet.write({"one": boxed(fleet) | {"log": {"redact_secrets": True}}}, **settings(fleet))
    fleet.ok("check")
    fleet.up()
    until(
        lambda: "box=7 word=[redacted]" in fleet.ok("logs", "one") or None, "its line is in the log, redacted"
    )
    assert boxes(fleet) == ["open one"]
    fleet.ok("restart", "one")
    assert boxes(fleet) == ["open one", "close one", "open one"]
    fleet.ok("down")
    assert boxes(fleet) == ["open one", "close one", "open one", "close one"]


def test_a_target_that_refuses_a_run_is_named_and_the_fleet_carries_on(fleet: Fleet) -> None:
    fleet.write(
        {
            "bad": boxed(fleet, fail=True) | {"restart": "never"},
            "good": {"command": ["sleep", "60"]},
        },
        **settings(fleet),
    )
    fleet.run("up", "--detach")
    fleet.until_state("bad", "failed")
    fleet.until_state("good", "ready")
    shown = fleet.ok("status", "bad")
    assert "target boxed: plugin demo: target boxed: OSError: no box is free" in " ".join(shown.split())
    # It is asked anew when the configuration is another, and the other service notices nothing.
    pid = fleet.pid("good")
    fleet.write({"bad": boxed(fleet), "good": {"command": ["sleep", "60"]}}, **settings(fleet))
    fleet.ok("reload")
    fleet.until_state("bad", "ready")
    assert fleet.pid("good") == pid
    fleet.ok("down")


def test_a_run_in_a_target_outlives_the_daemon(fleet: Fleet) -> None:
    fleet.write({"one": boxed(fleet)}, **settings(fleet))
    fleet.up()
    pid = fleet.pid("one")
    fleet.kill_daemon()
    fleet.until_state("one", "ready")
    assert fleet.pid("one") == pid
    fleet.ok("down")
    assert boxes(fleet) == ["open one", "close one"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "boxd"}, "no plugin has a target 'boxd'"),
        ({"target": {"name": "boxed", "options": {"bx": 1}}}, "target boxed: unknown option 'bx'"),
        ({"target": {"name": "process", "options": {"x": 1}}}, "target process takes no options"),
        ({"limits": {"memory": "64MB"}}, "target boxed: a box has no limits"),
    ],
)
def test_check_tells_what_is_wrong_with_a_target_and_where(
    fleet: Fleet, change: dict[str, object], said: str
) -> None:
    fleet.write({"one": boxed(fleet) | change}, **settings(fleet))
    done = fleet.run("check")
    assert done.returncode == 3
    assert re.search(r"orchestra\.json:\d+", done.stdout), done.stdout
    assert said in " ".join(done.stdout.split())
    assert "hint:" in done.stdout


def test_a_plugin_takes_no_name_of_what_is_built_in(fleet: Fleet) -> None:
    write_plugin(fleet.path, TARGET.replace('"boxed"', '"process"'), "mine.py")
    fleet.write({"one": {"command": ["sleep", "60"]}}, plugins=["./mine.py"])
    done = fleet.run("check")
    assert "target 'process' is taken by the supervisor itself" in " ".join(done.stdout.split())


# Real containers.


@pytest.fixture
def engine(fleet: Fleet) -> Iterator[list[str]]:
    """Yield a podman that works here, with an image `local/tools:1` of this host's shell."""
    if os.geteuid() or not shutil.which("podman") or not shutil.which("runc"):
        pytest.skip("needs podman and runc, as root")
    with tempfile.TemporaryDirectory(prefix="orc-") as run:  # it takes no path over 50 characters
        words = ["podman", "--root", str(fleet.path / "store"), "--runroot", run, "--storage-driver=vfs"]
        words += ["--cgroup-manager=cgroupfs", "--runtime=runc"]
        archive = fleet.path / "image.tar"
        write_image(archive)
        for command in (
            ["import", str(archive), "local/tools:1"],
            ["run", "--rm", *ARGUMENTS, "--network=host", "local/tools:1", "/bin/cat", "/dev/null"],
        ):
            done = subprocess.run([*words, *command], capture_output=True, encoding="utf-8", check=False)
            if done.returncode:
                pytest.skip(f"podman does not run containers here: {done.stderr[-300:]!r}")
        yield words
        # A test that failed leaves a container, and with it a mount.
        subprocess.run([*words, "rm", "--all", "--force"], capture_output=True, check=True)


def write_image(archive: Path) -> None:
    """Write an archive with this host's shell and what it is linked with."""
    with tarfile.open(archive, "w") as tar:
        for name in ("sh", "sleep", "cat"):
            program = os.path.realpath(shutil.which(name) or f"/bin/{name}")
            tar.add(program, f"bin/{name}")
            linked = subprocess.run(["ldd", program], capture_output=True, encoding="utf-8", check=True)
            for library in re.findall(r"(/\S+) \(0x", linked.stdout):
                if library.lstrip("/") not in tar.getnames():
                    tar.add(os.path.realpath(library), library.lstrip("/"))


ARGUMENTS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
"""What a container needs where raising limits is not allowed, as in a container."""


def contained(*command: str) -> dict[str, object]:
    options = {"image": "local/tools:1", "network": "host", "arguments": ARGUMENTS, "pull": "never"}
    return {"command": list(command), "target": {"name": "container", "options": options}}


def containers(engine: list[str]) -> list[str]:
    done = subprocess.run(
        [*engine, "ps", "--all", "--format", "{{.Names}}"], capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.split()


@pytest.mark.slow
def test_a_service_runs_in_a_container_and_nothing_of_it_is_left(fleet: Fleet, engine: list[str]) -> None:
    (fleet.path / "container.py").write_bytes((ROOT / "plugins" / "container.py").read_bytes())
    secrets = fleet.path / "secrets.json"
    secrets.write_text(json.dumps({"word": "s3cret-word"}), encoding="utf-8")
    secrets.chmod(0o600)
    loop = 'trap "echo ends; exit 0" TERM; echo "word $WORD"; while :; do /bin/sleep 0.1; done'
    fleet.write(
        {
            "box": contained("/bin/sh", "-c", loop)
            | {"env": {"WORD": "secret:word"}, "log": {"redact_secrets": False}},
            "once": contained("/bin/sh", "-c", "exit 7") | {"kind": "once"},
        },
        plugins=[{"plugin": "./container.py", "options": {"engine": engine}, "timeout": "30s"}],
        secrets_file="secrets.json",
    )
    fleet.ok("check")
    fleet.run("up", "--detach")
    fleet.until_state("once", "failed")
    assert "exit code 7" in fleet.ok("status", "once")
    until(lambda: "word s3cret-word" in fleet.ok("logs", "box") or None, "the container has said its word")
    [name] = containers(engine)
    assert name.startswith("orchestra-box-")
    command = Path(f"/proc/{fleet.pid('box')}/cmdline").read_bytes()
    assert b"--env=WORD" in command
    assert b"s3cret-word" not in command
    # A client that is killed takes its container with it, and the next run has its name.
    pid = fleet.pid("box")
    os.kill(pid, 9)
    until(lambda: fleet.service("box")["pid"] not in {pid, None} or None, "it is started again")
    until(
        lambda: fleet.ok("logs", "box").count("word s3cret-word") == 2 or None, "the next run says its word"
    )
    assert containers(engine) == [name]
    fleet.ok("stop", "box")
    assert "ends" in fleet.ok("logs", "box")
    assert containers(engine) == []
    fleet.ok("down")
