"""A bundle of a fleet that has secrets everywhere: none of them is in it."""

import base64
import tarfile
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, python

SECRETS = {
    "file": "file-secret-5f1d",
    "nested": "nested-secret-77aa",
    "env": "env-secret-90be",
    "argument": "argument-secret-13c4",
    "shell": "shell-secret-8d8d",
    "word": "word-secret-4e4e",
}
TALKER = """
import base64, os, sys, time
for value in (os.environ["FROM_FILE"], os.environ["API_KEY"]):
    print("I know", value, base64.b64encode(value.encode()).decode(), flush=True)
print("login password=word-secret-4e4e", file=sys.stderr, flush=True)
print("harmless-line", flush=True)
time.sleep(1000)
"""


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {one.name.partition("/")[2]: archive.extractfile(one) for one in archive.getmembers()}
        return {name: file.read().decode() for name, file in found.items() if file is not None}


def check(path: Path) -> dict[str, str]:
    """Return what is inside, having looked for every secret in every file of it."""
    found = contents(path)
    for name, text in found.items():
        for kind, secret in SECRETS.items():
            assert secret not in text, f"the {kind} secret is in {name}"
            coded = base64.b64encode(secret.encode()).decode().rstrip("=")
            assert coded not in text, f"the {kind} secret is in {name}, in base64"
    assert path.stat().st_mode & 0o777 == 0o600
    return found


@pytest.mark.slow
def test_no_secret_is_in_a_bundle_whether_the_fleet_runs_or_not(fleet: Fleet) -> None:
    secrets = fleet.path / "secrets.json"
    secrets.write_text(
        f'{{"one": "{SECRETS["file"]}", "deep": {{"two": "{SECRETS["nested"]}"}}}}', encoding="utf-8"
    )
    secrets.chmod(0o600)
    talker = {
        "command": python(TALKER, "--token", SECRETS["argument"]),
        "env": {
            "FROM_FILE": "secret:one",
            "DEEP": "secret:deep.two",
            "API_KEY": SECRETS["env"],
            "MODE": "harmless-mode",
        },
        "log": {"redact_secrets": False},
    }
    fleet.write({"talker": talker}, secrets_file="secrets.json")
    shell = {"MY_TOKEN": SECRETS["shell"]}
    fleet.up(**shell)
    fleet.until_log("talker", "harmless-line")
    fleet.until_log("talker", "password=word-secret")
    fleet.ok("restart", "talker", "--reason", f"was told {SECRETS['file']} and token={SECRETS['word']}")
    assert SECRETS["file"].encode() in fleet.log("talker"), "the log itself holds it"

    said = fleet.ok("bundle", "a.tar.gz", **shell)
    running = check(fleet.path / "a.tar.gz")
    assert "harmless-line" in running["logs/talker.log"]
    assert "was told ***" in running["events.json"]
    assert "secret:deep.two" in running["config.json"]
    assert "harmless-mode" not in "".join(running.values())
    assert {"doctor.json", "status.json", "findings.json", "versions.json", "supervisor.log"} <= set(running)
    assert "Left out:\n  nothing" in running["MANIFEST.txt"]
    assert "status.json" in said

    fleet.ok("bundle", "env.tar.gz", "--with-env", "--logs", "0", **shell)
    shown = check(fleet.path / "env.tar.gz")
    assert "harmless-mode" in shown["config.json"]
    assert "logs/talker.log" not in shown

    fleet.ok("down")
    fleet.ok("bundle", "down.tar.gz", **shell)
    down = check(fleet.path / "down.tar.gz")
    assert "status.json: no fleet runs here" in down["MANIFEST.txt"]
    assert "was told ***" in down["events.json"], "from the journal"

    secrets.chmod(0o644)
    fleet.ok("bundle", "unsure.tar.gz", **shell)
    unsure = check(fleet.path / "unsure.tar.gz")
    assert set(unsure) >= {"doctor.json", "config.json", "versions.json"}
    assert not any(name.startswith("logs/") or name in {"supervisor.log", "events.json"} for name in unsure)
    assert "secrets cannot be told from other text" in unsure["MANIFEST.txt"]


def test_a_file_that_is_there_is_never_overwritten(fleet: Fleet) -> None:
    target = fleet.path / "mine.tar.gz"
    target.write_text("mine", encoding="utf-8")
    done = fleet.run("bundle", "mine.tar.gz")
    assert done.returncode == 8
    assert "hint: name another file" in done.stderr
    assert target.read_text(encoding="utf-8") == "mine"
