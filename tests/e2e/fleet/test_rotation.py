"""Secrets that change under a real fleet: their users are restarted or told, and values appear nowhere."""

import json
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import ROOT, Fleet, python, until
from tests.unit.plugins.bao_server import ROOT_TOKEN, serving

pytestmark = pytest.mark.slow

STAY = "import os, signal\nos.write(1, b'here\\n')\nsignal.pause()\n"
SAY_HUP = (
    "import os, signal\nsignal.signal(1, lambda *_: os.write(1, b'again\\n'))\n"
    "os.write(1, b'here\\n')\nwhile 1: signal.pause()"
)
OLD, NEW, NEXT = "hunter2-b2xk", "hunter2-bmV3", "hunter2-bmV4dA"
USERS = {
    "db": {
        "command": python(STAY),
        "env": {"A": "pg://u:${secret:db.password}@h"},
        "on_secret_change": "restart",
    },
    "api": {"command": python(STAY), "secrets": {"A": "api_key"}, "on_secret_change": "restart"},
    "hup": {
        "command": python(SAY_HUP),
        "secrets": {"A": "db.password"},
        "on_secret_change": {"signal": "HUP"},
    },
    "old": {"command": python(STAY), "secrets": {"A": "db.password"}},
    "none": {"command": python(STAY)},
}


def write_secrets(fleet: Fleet, password: str) -> None:
    """Replace the file in one piece, as an editor or a deployment does."""
    file = fleet.path / "secrets.json.new"
    file.write_text(json.dumps({"db": {"password": password}, "api_key": f"key-{OLD}"}), encoding="utf-8")
    file.chmod(0o600)
    file.replace(fleet.path / "secrets.json")


def runs(fleet: Fleet) -> dict[str, object]:
    return {name: row["run"] for name, row in fleet.status().items()}


def until_new_run(fleet: Fleet, name: str, before: dict[str, object], value: str) -> None:
    until(lambda: fleet.service(name)["run"] not in {None, before[name]}, f"{name} has a new run")
    fleet.until_state(name, "ready")
    assert value.encode() in Path(f"/proc/{fleet.pid(name)}/environ").read_bytes()


def assert_nowhere(fleet: Fleet, *values: str) -> None:
    """Look for values in all that the fleet has written, and in all that it says of itself."""
    told = "".join(
        done.stdout + done.stderr
        for done in (
            fleet.run("status", "--json"),
            fleet.run("events", "--json", "-n", "1000"),
            fleet.run("logs"),
        )
    )
    for value in values:
        assert value not in told
        holders = [
            path for path in fleet.home.rglob("*") if path.is_file() and value.encode() in path.read_bytes()
        ]
        assert holders == []


def test_a_reload_restarts_or_tells_those_alone_whose_value_has_changed(fleet: Fleet) -> None:
    write_secrets(fleet, OLD)
    fleet.write(USERS, secrets_file="secrets.json")
    fleet.up()
    fleet.until_log("hup", "here")
    before = runs(fleet)
    fleet.ok("reload")
    write_secrets(fleet, NEW)
    fleet.ok("reload")
    until_new_run(fleet, "db", before, NEW)
    fleet.until_log("hup", "again")
    (event,) = fleet.events("secret.")
    assert event["data"] == {
        "scheme": "",
        "names": ["db.password"],
        "services": ["db", "hup", "old"],
        "actions": {"db": "restart", "hup": "SIGHUP", "old": "ignore"},
    }
    after = runs(fleet)
    assert [name for name in before if after[name] != before[name]] == ["db"]
    # A change while there is no daemon: the next one compares with what the last one left with the keeper.
    old = fleet.daemon()["pid"]
    write_secrets(fleet, NEXT)
    fleet.kill_daemon()
    until(lambda: fleet.daemon()["pid"] != old, "a new daemon")
    until_new_run(fleet, "db", after, NEXT)
    last = runs(fleet)
    assert [name for name in before if last[name] != after[name]] == ["db"]
    assert_nowhere(fleet, OLD, NEW, NEXT)
    fleet.ok("down")
    assert_nowhere(fleet, OLD, NEW, NEXT)


def test_a_watched_secrets_file_needs_no_reload_and_one_that_is_wrong_stops_nobody(fleet: Fleet) -> None:
    write_secrets(fleet, OLD)
    settings = {"secrets_file": "secrets.json", "watch_config": True, "watch_debounce": "50ms"}
    fleet.write({name: USERS[name] for name in ("db", "api")}, **settings)
    fleet.up()
    before = runs(fleet)
    (fleet.path / "secrets.json").chmod(0o644)
    fleet.ok("reload")
    failed = fleet.until_event("secret.failed", "db")
    assert "0644" in failed["message"]
    assert runs(fleet) == before
    write_secrets(fleet, NEW)
    until_new_run(fleet, "db", before, NEW)
    assert runs(fleet)["api"] == before["api"]
    assert len(fleet.events("config.reloaded")) == 1, "the one that was asked for"
    assert_nowhere(fleet, OLD, NEW)


def test_a_secret_of_a_vault_is_rotated_and_a_sealed_vault_stops_nobody(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "bao"
    folder.mkdir()
    (fleet.path / "vault.py").write_bytes((ROOT / "plugins" / "vault.py").read_bytes())
    with serving(folder) as bao:
        bao.put("db", password=OLD)
        bao.put("other", value="x")
        secrets = fleet.path / "secrets.json"
        secrets.write_text(json.dumps({"token": ROOT_TOKEN}), encoding="utf-8")
        secrets.chmod(0o600)
        options = {"address": bao.url, "token": "secret:token", "poll": 0.2}
        fleet.write(
            {
                "db": {
                    "command": python(STAY),
                    "secrets": {"A": "vault:db#password"},
                    "on_secret_change": "restart",
                },
                "other": {
                    "command": python(STAY),
                    "secrets": {"A": "vault:other"},
                    "on_secret_change": "restart",
                },
            },
            secrets_file="secrets.json",
            plugins=[{"plugin": "./vault.py", "options": options}],
        )
        fleet.up()
        before = runs(fleet)
        assert OLD.encode() in Path(f"/proc/{fleet.pid('db')}/environ").read_bytes()
        bao.put("db", password=NEW)
        until_new_run(fleet, "db", before, NEW)
        event = fleet.until_event("secret.changed")
        assert event["data"]["names"] == ["db#password"]
        assert event["data"]["actions"] == {"db": "restart"}
        after = runs(fleet)
        assert after["other"] == before["other"]
        # Another daemon has another plugin, which learns from the rotation what it has to look at.
        old = fleet.kill_daemon()
        until(lambda: fleet.daemon()["pid"] != old, "a new daemon")
        assert runs(fleet) == after
        bao.put("db", password=NEXT)
        until_new_run(fleet, "db", after, NEXT)
        # Sealed: what runs goes on, what is restarted has the value that is kept.
        bao.ask("PUT", "sys/seal")
        now = runs(fleet)
        fleet.ok("restart", "db")
        until_new_run(fleet, "db", now, NEXT)
        assert_nowhere(fleet, OLD, NEW, NEXT, ROOT_TOKEN)
        fleet.ok("down")
