"""`orchestra plugins` over a daemon that answers as docs/control-api.md says."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.fake_control import Answer, holding_lock, serving
from tests.e2e.cli.runner import orchestra

Tell = Callable[..., dict[str, object]]


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Tell]:
    """Says which plugins the daemon has."""
    home = tmp_path / ".orchestra"
    home.mkdir()
    told: dict[str, object] = {}

    def answer(_method: str, path: str, _query: dict[str, str], _body: object) -> Answer:
        assert path == "/v1/plugins"
        return 200, told

    def tell(*rows: dict[str, object]) -> dict[str, object]:
        told["plugins"] = list(rows)
        return told

    with holding_lock(home), serving(home / "control.sock", answer):
        yield tell


def row(name: str, state: str, **fields: object) -> dict[str, object]:
    plain = {"name": name, "version": "1.0", "source": f"/srv/{name}.py", "state": state, "hooks": []}
    return plain | {"calls": 3, "failures": 0, "dropped": 0, "last_error": ""} | fields


def test_every_plugin_has_a_line_with_its_state_and_what_went_wrong(tell: Tell, tmp_path: Path) -> None:
    tell(
        row("webhook", "ok", hooks=["register_notifiers", "register_event_sinks"]),
        row("vault", "suspended", failures=7, dropped=2, last_error="HTTP 503\x1b[31m"),
        row("odd", "of a later version"),
    )
    done = orchestra("plugins", cwd=tmp_path)
    assert done.returncode == 0
    header, webhook, vault, odd = done.stdout.splitlines()
    assert header.split()[:2] == ["NAME", "STATE"]
    assert webhook.split()[1:3] == ["webhook", "ok"]
    assert "notifiers, event_sinks" in webhook
    assert vault.split()[1:4] == ["vault", "suspended", "3"]
    assert vault.split()[4] == "7"
    assert vault.endswith("HTTP 503^[[31m"), "control characters are spelled out"
    assert odd.startswith("?")


def test_json_is_the_answer_of_the_daemon(tell: Tell, tmp_path: Path) -> None:
    answer = tell(row("webhook", "ok"))
    assert json.loads(orchestra("plugins", "--json", cwd=tmp_path).stdout) == answer


def test_a_fleet_without_plugins_is_told_where_they_are_named(tell: Tell, tmp_path: Path) -> None:
    tell()
    assert "settings.plugins" in orchestra("plugins", cwd=tmp_path).stdout


def test_without_a_fleet_the_status_is_4(tmp_path: Path) -> None:
    assert orchestra("plugins", cwd=tmp_path).returncode == 4
