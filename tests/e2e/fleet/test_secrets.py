"""Secrets reach the process that asked for them, and nothing else of ours."""

import json
import os
import time
from pathlib import Path

from tests.e2e.fleet_driver import Fleet, python, until

VALUE = "hunter2-Zm9vYmFy"
SAY = "import os, signal\nos.write(1, b'here ' + os.environb[b'PASSWORD'] + b'\\n')\nsignal.pause()\n"
STAY = "import os, signal\nos.write(1, b'here\\n')\nsignal.pause()\n"


def write_secrets(fleet: Fleet, mode: int = 0o600, value: str = VALUE) -> None:
    path = fleet.path / "secrets.json"
    path.write_text(json.dumps({"db": {"password": value}}), encoding="utf-8")
    path.chmod(mode)


def files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_a_secret_is_in_the_environment_of_its_service_and_nowhere_else(fleet: Fleet) -> None:
    write_secrets(fleet)
    fleet.write(
        {
            "whole": {
                "command": python(SAY),
                "env": {"PASSWORD": "secret:db.password"},
                "restart": "always",
            },
            "within": {"command": python(STAY), "env": {"URL": "pg://me:${secret:db.password}@host/"}},
            "probe": {
                "command": python(STAY),
                "secrets": {"TOKEN": "db.password"},
                "probes": {
                    "readiness": {"command": f'echo "$TOKEN"; test "$TOKEN" = {VALUE[:3]}*', "period": "50ms"}
                },
                "startup_timeout": "300ms",
                "restart": "never",
            },
            "none": {"command": python(STAY)},
            "absent": {"command": python(STAY), "env": {"X": "secret:db.pasword"}, "restart": "never"},
        },
        secrets_file="secrets.json",
    )
    fleet.run("up", "--detach")
    for name in ("whole", "within", "none"):
        fleet.until_log(name, "here")
    fleet.until_log("whole", "here [redacted]")
    fleet.until_state("probe", "failed")
    probe_log = fleet.home / "logs" / "probe.probe.log"
    assert b"[redacted]" in until(probe_log.read_bytes, "what the probe's command wrote")
    absent = fleet.until_state("absent", "failed")
    assert "db.pasword" in absent["reason"]
    environ = {
        name: Path(f"/proc/{fleet.pid(name)}/environ").read_bytes() for name in ("whole", "within", "none")
    }
    assert f"PASSWORD={VALUE}\0".encode() in environ["whole"]
    assert f"URL=pg://me:{VALUE}@host/\0".encode() in environ["within"]
    assert VALUE.encode() not in environ["none"]
    for role in (fleet.keeper, fleet.role("daemon"), fleet.role("logger")):
        assert VALUE.encode() not in Path(f"/proc/{role}/environ").read_bytes()
    # Over the death of the daemon and of the service.
    old = fleet.kill_daemon()
    assert until(lambda: fleet.daemon()["pid"] != old, "a new daemon")
    before = fleet.pid("whole")
    fleet.kill(before)
    assert until(lambda: fleet.service("whole")["pid"] not in {before, None}, "it runs again")
    assert f"PASSWORD={VALUE}\0".encode() in until(
        lambda: Path(f"/proc/{fleet.pid('whole')}/environ").read_bytes(), "an environment"
    )
    told = "".join(
        done.stdout + done.stderr
        for done in (
            fleet.run("status", "--json"),
            fleet.run("events", "--json", "-n", "1000"),
            fleet.run("check", "--json"),
            fleet.run("logs"),
        )
    )
    assert VALUE not in told
    assert files_with(fleet.home, VALUE.encode()) == []
    fleet.ok("down")
    assert files_with(fleet.home, VALUE.encode()) == []


def test_a_secrets_file_that_others_can_read_is_refused_for_the_services_that_need_it(fleet: Fleet) -> None:
    write_secrets(fleet, 0o644)
    fleet.write(
        {
            "needs": {"command": python(STAY), "env": {"A": "secret:db.password"}, "restart": "never"},
            "none": {"command": python(STAY)},
        },
        secrets_file="secrets.json",
    )
    done = fleet.run("up", "--detach")
    assert done.returncode == 1
    assert "needs is failed" in done.stderr
    assert "0644" in done.stderr
    row = fleet.until_state("needs", "failed")
    assert (row["pid"], row["run"]) == (None, None)
    assert "0644" in row["reason"]
    assert "secrets.json" in row["reason"]
    assert fleet.service("none")["state"] == "ready"
    os.chmod(fleet.path / "secrets.json", 0o600)  # noqa: PTH101  # the way out that the hint names
    fleet.ok("start", "needs")
    assert VALUE.encode() in Path(f"/proc/{fleet.pid('needs')}/environ").read_bytes()


def test_a_changed_secret_is_there_for_the_next_run(fleet: Fleet) -> None:
    write_secrets(fleet)
    fleet.write(
        {"one": {"command": python(STAY), "env": {"A": "secret:db.password"}}}, secrets_file="secrets.json"
    )
    fleet.up()
    write_secrets(fleet, value="other-" + str(time.monotonic_ns()))
    fleet.ok("restart", "one")
    environ = Path(f"/proc/{fleet.pid('one')}/environ").read_bytes()
    assert VALUE.encode() not in environ
    assert b"A=other-" in environ
