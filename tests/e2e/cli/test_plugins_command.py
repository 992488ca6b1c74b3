"""`orchestra plugins` over a daemon that answers as docs/control-api.md says."""

import json
from pathlib import Path

from tests.e2e.cli.conftest import Daemon
from tests.e2e.cli.runner import orchestra


def row(name: str, state: str, **fields: object) -> dict[str, object]:
    plain = {"name": name, "version": "1.0", "source": f"/srv/{name}.py", "state": state, "hooks": []}
    return plain | {"calls": 3, "failures": 0, "dropped": 0, "last_error": ""} | fields


def test_every_plugin_has_a_line_with_its_state_and_what_went_wrong(daemon: Daemon, tmp_path: Path) -> None:
    rows = [
        row("webhook", "ok", hooks=["register_notifiers", "register_event_sinks"]),
        row("vault", "suspended", failures=7, dropped=2, last_error="HTTP 503\x1b[31m"),
        row("odd", "of a later version"),
    ]
    daemon.answers["GET /v1/plugins"] = (200, {"plugins": rows})
    done = orchestra("plugins", cwd=tmp_path)
    assert done.returncode == 0
    header, webhook, vault, odd = done.stdout.splitlines()
    assert header.split()[:3] == ["NAME", "STATE", "VERSION"]
    assert webhook.split()[1:3] == ["webhook", "ok"]
    assert "notifiers, event_sinks" in webhook
    assert vault.split()[1:6] == ["vault", "suspended", "1.0", "3", "7"]
    assert vault.endswith("HTTP 503^[[31m"), "control characters are spelled out"
    assert odd.startswith("?")


def test_json_is_the_answer_of_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    answer: dict[str, object] = {"plugins": [row("webhook", "ok")]}
    daemon.answers["GET /v1/plugins"] = (200, answer)
    assert json.loads(orchestra("plugins", "--json", cwd=tmp_path).stdout) == answer


def test_a_fleet_without_plugins_is_told_where_they_are_named(daemon: Daemon, tmp_path: Path) -> None:
    daemon.answers["GET /v1/plugins"] = (200, {"plugins": []})
    assert "settings.plugins" in orchestra("plugins", cwd=tmp_path).stdout


def test_without_a_fleet_the_status_is_4(tmp_path: Path) -> None:
    assert orchestra("plugins", cwd=tmp_path).returncode == 4
