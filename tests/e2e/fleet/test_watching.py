"""Files that change restart services and reload the fleet, for real."""

import json
import signal

import pytest

from tests.e2e.fleet_driver import Fleet, python, until

pytestmark = pytest.mark.slow

STAY = "import signal\nsignal.pause()\n"
SAY_HUP = "import os, signal\nsignal.signal(1, lambda *_: os.write(1, b'again\\n'))\nwhile 1: signal.pause()"


def test_a_changed_file_restarts_the_service_that_is_watched_for_it(fleet: Fleet) -> None:
    source = fleet.path / "src"
    source.mkdir()
    (source / "app.py").write_text("1", encoding="utf-8")
    fleet.write(
        {
            "web": {"command": python(STAY), "watch": {"paths": ["src/**/*.py"], "debounce": "50ms"}},
            "hup": {
                "command": python(SAY_HUP),
                "watch": {"paths": ["hup.conf"], "action": "reload", "debounce": 0.05},
            },
            "other": {"command": python(STAY)},
        }
    )
    fleet.up()
    before = {name: row["pid"] for name, row in fleet.status().items()}
    until(lambda: (fleet.service("web")["watching"] or {}).get("files") == 1, "its file is watched")
    assert fleet.service("web")["watching"]["paths"] == ["src/**/*.py"]
    assert fleet.service("other")["watching"] is None
    (source / "notes.txt").write_text("nothing", encoding="utf-8")
    (source / "app.py.new").write_text("2", encoding="utf-8")
    (source / "app.py.new").replace(source / "app.py")
    until(lambda: fleet.service("web")["pid"] not in {None, before["web"]}, "web is restarted")
    event = fleet.until_event("watch.changed", "web")
    assert event["data"]["paths"] == ["src/app.py"]
    stopping = fleet.until_event("service.stopping", "web")
    assert stopping["message"] == "src/app.py changed"
    (fleet.path / "hup.conf").write_text("x", encoding="utf-8")
    fleet.until_log("hup", "again")
    now = {name: row["pid"] for name, row in fleet.status().items()}
    assert (now["other"], now["hup"]) == (before["other"], before["hup"])
    # The next daemon watches as the last one did.
    fleet.kill_daemon()
    until(lambda: (fleet.service("web")["watching"] or {}).get("files") == 1, "its file is watched")
    (source / "app.py").write_text("3", encoding="utf-8")
    until(lambda: fleet.service("web")["pid"] not in {None, now["web"]}, "web is restarted")


def test_a_changed_configuration_is_a_reload_and_a_bad_one_is_refused_once(fleet: Fleet) -> None:
    config = fleet.path / "orchestra.json"
    extra = fleet.path / "conf.d"
    extra.mkdir()

    def write(level: str, **settings: object) -> None:
        services = {
            "api": {"command": python(STAY), "env": {"LEVEL": level}, "env_files": ["?api.env"]},
            "same": {"command": python(STAY)},
        }
        given = {"watch_config": True, "watch_debounce": "50ms"} | settings
        text = json.dumps({"settings": given, "include": ["conf.d/*.json"], "services": services}, indent=1)
        (fleet.path / "new").write_text(text, encoding="utf-8")
        (fleet.path / "new").replace(config)

    write("info")
    fleet.up()
    same, api = fleet.pid("same"), fleet.pid("api")
    write("debug")
    api = until(lambda: fleet.service("api")["pid"] not in {None, api} and fleet.service("api")["pid"], "new")
    assert fleet.until_event("config.reloaded")["data"]["by"] == "file watch"
    (fleet.path / "api.env").write_text("MORE=1\n", encoding="utf-8")
    api = until(lambda: fleet.service("api")["pid"] not in {None, api} and fleet.service("api")["pid"], "new")
    (extra / "more.json").write_text(
        '{"services": {"more": {"command": ["sleep", "1000"]}}}', encoding="utf-8"
    )
    until(lambda: "more" in fleet.status(), "an included file came")

    good = config.read_text(encoding="utf-8")
    config.write_text(good.replace('"same": {', '"same": {{'), encoding="utf-8")
    refused = fleet.until_event("config.refused")
    assert refused["data"]["by"] == "file watch"
    assert "orchestra.json:" in refused["message"]
    config.touch()
    until(lambda: fleet.events("config.refused"), "it is refused")
    config.write_text(good, encoding="utf-8")
    (extra / "more.json").unlink()
    until(lambda: "more" not in fleet.status(), "what was good again is applied")
    assert len(fleet.events("config.refused")) == 1
    assert fleet.pid("same") == same
    assert fleet.pid("api") == api

    # What changes while the daemon is away is found by the next one.
    fleet.kill(fleet.daemon()["pid"], signal.SIGSTOP)
    pid = fleet.role("daemon")
    write("warn")
    assert pid is not None
    fleet.kill(pid)
    until(lambda: fleet.service("api")["pid"] not in {None, api}, "api has the new value")
    write("warn", watch_config=False)
    until(
        lambda: any("watch_config" in row["data"]["settings"] for row in fleet.events("config.reloaded")),
        "it is no longer watched from here on",
    )
