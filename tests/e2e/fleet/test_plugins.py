"""Plugins that fail in every way, in a real fleet: named, isolated, and no service notices."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import ROOT, Fleet, Row, python, until
from tests.unit.plugin_api.plugin_files import write_plugin
from tests.unit.plugins.http_receiver import Answer, receiving

STAY = "import os, signal\nos.write(1, b'here\\n')\nsignal.pause()\n"

PROBE = """
class Probe:
    type = "file"
    async def check(self, request):
        import os
        what = open(request.options["path"], encoding="utf-8").read()
        if what == "raise":
            raise OSError("no route")
        if what == "block":
            time.sleep(3600)
        return Verdict(what == "good", what)

@hookimpl
def register_probes(context): return [Probe()]
"""

SINK = """
class Sink:
    name = "file"
    def __init__(self, path): self.path = path
    async def take(self, events):
        with open(self.path, "a", encoding="utf-8") as file:
            for event in events:
                file.write(f"{event.kind} {event.service}\\n")

@hookimpl
def register_event_sinks(context): return [Sink(context.options["path"])]
"""

VAULT = """
class Vault:
    scheme = "vault"
    async def resolve(self, names):
        return {name: Secret("value-of-" + name, 3600.0) for name in names if name != "none"}
    async def watch(self):
        await asyncio.sleep(3600)
        yield []

@hookimpl
def register_secret_providers(context): return [Vault()]
"""


def plugins_of(fleet: Fleet) -> dict[str, Row]:
    return {str(row["name"]): row for row in fleet.client.plugins()["plugins"]}  # type: ignore[index, union-attr]


def until_plugin(fleet: Fleet, name: str, holds: Callable[[Row], bool], what: str) -> Row:
    def look() -> Row | None:
        row = plugins_of(fleet).get(name)
        return row if row is not None and holds(row) else None

    return until(look, f"plugin {name} {what}")


def write(fleet: Fleet, text: str, name: str, **head: str) -> str:
    write_plugin(fleet.path, text, name, **head)
    return f"./{name}"


@pytest.mark.slow
def test_plugins_that_fail_in_every_way_are_named_and_no_service_notices(fleet: Fleet) -> None:
    probed = fleet.path / "probed"
    probed.write_text("good", encoding="utf-8")
    out = fleet.path / "out"
    plugins: list[object] = [
        write(fleet, "raise OSError('no disk')", "raises.py"),
        {"plugin": write(fleet, "time.sleep(3600)", "hangs.py"), "timeout": "300ms"},
        write(fleet, "API_VERSION = 9", "old.py"),
        write(fleet, "@hookimpl\ndef register_all(context): return []", "unknown.py"),
        write(fleet, "@hookimpl\ndef register_probes(wrong): return []", "arguments.py"),
        write(fleet, "@hookimpl\ndef register_probes(context): sys.exit(1)", "exits.py"),
        {"plugin": write(fleet, SINK, "sink.py"), "name": "sink", "options": {"path": str(out)}},
        {"plugin": write(fleet, PROBE, "probe.py"), "name": "probe", "timeout": "300ms"},
        {"plugin": write(fleet, VAULT, "vault.py"), "name": "vault"},
    ]
    probe = {"plugin": {"probe": "file", "options": {"path": str(probed)}}, "period": "50ms"}
    services: dict[str, object] = {
        "plain": {"command": python(STAY)},
        "probed": {"command": python(STAY), "probes": {"readiness": probe}},
        "secret": {"command": python(STAY), "env": {"TOKEN": "secret:vault:db/pw"}},
    }
    fleet.write(services, plugins=plugins)
    fleet.up()
    pids = {name: fleet.pid(name) for name in services}
    environ = Path(f"/proc/{pids['secret']}/environ").read_bytes()
    assert b"TOKEN=value-of-db/pw\0" in environ
    rows = fleet.client.plugins()["plugins"]
    states = [(row["name"], row["state"]) for row in rows]  # type: ignore[index, union-attr]
    failed = (
        "raises",
        "hangs",
        "old",
        "demo",
        "demo",
        "demo",
    )  # those that got as far as their NAME are demo
    assert states == [
        *((name, "failed") for name in failed),
        ("sink", "ok"),
        ("probe", "ok"),
        ("vault", "ok"),
    ]
    table = fleet.ok("plugins", COLUMNS="400")
    for said in (
        "no disk",
        "no end within 0.3 s",
        "API version 9",
        "no hook register_all",
        "'wrong'",
        "tried to end",
    ):
        assert said in table, table
    # The probe's plugin fails, then hangs for good: the service is unhealthy, and goes on.
    probed.write_text("raise", encoding="utf-8")
    row = fleet.until_state("probed", "unhealthy")
    assert "no route" in row["probe_error"]
    until_plugin(fleet, "probe", lambda row: row["state"] == "suspended", "is suspended")
    fleet.until_event("plugin.suspended")
    assert {name: fleet.pid(name) for name in services} == pids
    # What happened is in the hands of the sink; the daemon answers as ever.
    until(lambda: out.exists() and "plugin.suspended" in out.read_text(encoding="utf-8"), "the sink has it")
    assert fleet.daemon()["phase"] == "running"
    # A killed daemon: the next one loads them anew, and the services are the same.
    old = fleet.kill_daemon()
    until(lambda: fleet.daemon()["pid"] != old, "a new daemon")
    until_plugin(fleet, "sink", lambda row: row["state"] == "ok", "is loaded again")
    assert {name: fleet.pid(name) for name in services} == pids
    fleet.ok("restart", "secret")
    assert b"value-of-db/pw" in Path(f"/proc/{fleet.pid('secret')}/environ").read_bytes()
    fleet.ok("down")
    assert "fleet.stopped" in out.read_text(encoding="utf-8"), "the last event too"
    assert b"value-of" not in b"".join(path.read_bytes() for path in fleet.home.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_plugin_whose_thread_hangs_for_good_holds_up_neither_service_nor_daemon_nor_its_end(
    fleet: Fleet,
) -> None:
    probed = fleet.path / "probed"
    probed.write_text("good", encoding="utf-8")
    plugin = {"plugin": write(fleet, PROBE, "probe.py"), "name": "probe", "timeout": "200ms"}
    probe = {"plugin": {"probe": "file", "options": {"path": str(probed)}}, "period": "50ms"}
    fleet.write({"one": {"command": python(STAY), "probes": {"readiness": probe}}}, plugins=[plugin])
    fleet.up()
    pid = fleet.pid("one")
    probed.write_text("block", encoding="utf-8")
    until_plugin(fleet, "probe", lambda row: row["state"] == "stuck", "is stuck")
    fleet.until_state("one", "unhealthy")
    assert fleet.pid("one") == pid
    # A reload with the same file keeps it; one with another timeout loads it anew, in another thread.
    fleet.ok("reload")
    assert plugins_of(fleet)["probe"]["state"] == "stuck"
    probed.write_text("good", encoding="utf-8")
    plugin["timeout"] = "5s"
    fleet.write({"one": {"command": python(STAY), "probes": {"readiness": probe}}}, plugins=[plugin])
    fleet.ok("reload")
    fleet.until_state("one", "ready")
    assert fleet.pid("one") == pid
    fleet.ok("down")


@pytest.mark.slow
def test_the_example_of_the_page_does_what_the_page_says(fleet: Fleet) -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    config = json.loads(
        page.partition("This fleet uses it:")[2].partition("```json\n")[2].partition("```")[0]
    )
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    folder = fleet.path / "plugins"
    folder.mkdir()
    (folder / "example_uptime.py").write_text(code, encoding="utf-8")
    config["settings"]["plugins"][0]["options"]["path"] = str(fleet.path / "uptime.json")
    (fleet.path / "orchestra.json").write_text(json.dumps(config), encoding="utf-8")
    fleet.ok("check")
    fleet.up()
    assert plugins_of(fleet)["uptime"]["state"] == "ok"
    fleet.ok("down")
    uptime = json.loads((fleet.path / "uptime.json").read_text(encoding="utf-8"))
    assert list(uptime) == ["web"]
    assert uptime["web"] > 0


@pytest.mark.slow
def test_a_webhook_tells_of_a_service_that_failed_also_where_the_receiver_was_busy_first(
    fleet: Fleet,
) -> None:
    (fleet.path / "webhook.py").write_bytes((ROOT / "plugins" / "webhook.py").read_bytes())
    secrets = fleet.path / "secrets.json"
    with receiving([Answer(429, {"Retry-After": "0"}), Answer(503, {"Retry-After": "0"})]) as receiver:
        secrets.write_text(json.dumps({"hook": f"{receiver.url}/s3cret"}), encoding="utf-8")
        secrets.chmod(0o600)
        options = {"url": "secret:hook", "on": ["service.failed"], "services": ["b*"]}
        fleet.write(
            {
                "bad": {"command": python("raise SystemExit(3)"), "restart": "never"},
                "other": {"command": python("raise SystemExit(3)"), "restart": "never"},
            },
            plugins=[{"plugin": "./webhook.py", "options": options}],
            secrets_file="secrets.json",
        )
        fleet.run("up", "--detach")
        until(lambda: len(receiver.got) >= 3, "it was told at the third attempt")
        fleet.ok("down")
    paths, bodies = {path for path, _, _ in receiver.got}, [body for _, _, body in receiver.got]
    assert paths == {"/s3cret"}
    assert bodies[0] == bodies[1] == bodies[2]
    assert "bad failed: exit code 3" in bodies[2]["text"]
    assert "other" not in bodies[2]["text"]
    assert len(bodies) == 3
