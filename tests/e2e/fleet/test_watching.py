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

    def put(text: str) -> None:
        # At once: what is written piece by piece may be read between two pieces, and each of them refused.
        (fleet.path / "new").write_text(text, encoding="utf-8")
        (fleet.path / "new").replace(config)

    def write(level: str, **settings: object) -> None:
        services = {
            "api": {"command": python(STAY), "env": {"LEVEL": level}, "env_files": ["?api.env"]},
            "same": {"command": python(STAY)},
        }
        given = {"watch_config": True, "watch_debounce": "50ms"} | settings
        put(json.dumps({"settings": given, "include": ["conf.d/*.json"], "services": services}, indent=1))

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
    put(good.replace('"same": {', '"same": {{'))
    refused = fleet.until_event("config.refused")
    assert refused["data"]["by"] == "file watch"
    assert "orchestra.json:" in refused["message"]
    config.touch()
    until(lambda: fleet.events("config.refused"), "it is refused")
    put(good)
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


REPLICA = """
import os, pathlib, signal, socket
name = os.environ["ORCHESTRA_SERVICE"]
word = pathlib.Path("app.conf").read_text()
os.write(1, f"{name} has {word}\\n".encode())
if word == "bad":
    raise SystemExit(3)
server = socket.create_server(("127.0.0.1", 0))
pathlib.Path(name + ".ready").touch()
signal.pause()
"""


def test_replicas_that_are_updated_one_by_one_are_restarted_so_when_files_change(fleet: Fleet) -> None:
    conf = fleet.path / "app.conf"
    conf.write_text("one", encoding="utf-8")
    ready = python("import os, sys\nsys.exit(not os.path.exists(os.environ['ORCHESTRA_SERVICE'] + '.ready'))")
    fleet.write(
        {
            "web": {
                "command": python(REPLICA),
                "replicas": 3,
                "update": "rolling",
                "pre_start": [["sh", "-c", 'rm -f "$ORCHESTRA_SERVICE.ready"']],
                "probes": {"readiness": {"command": ready, "period": "50ms"}},
                "restart": {"backoff": {"initial": "500ms", "cap": "500ms"}, "max_restarts": 100},
                "startup_timeout": "5s",
                "watch": {"paths": ["app.conf"], "debounce": "50ms"},
            }
        }
    )
    fleet.up()
    names = ["web@1", "web@2", "web@3"]
    for name in names:
        until(lambda name=name: (fleet.service(name)["watching"] or {}).get("files") == 1, "it is watched")
    first = {name: fleet.pid(name) for name in names}
    conf.write_text("two", encoding="utf-8")
    for name in names:
        until(lambda name=name: fleet.service(name)["pid"] not in {None, first[name]}, "it is restarted")
    fleet.until_event("roll.done", "web")
    kinds = [(row["kind"], row["service"]) for row in fleet.events()]
    turns = [one for one in kinds if one[0] in {"service.stopping", "service.ready"}][3:]
    # The next one stops only when the last one is ready again.
    assert [kind for kind, _ in turns] == ["service.stopping", "service.ready"] * 3
    # A change that no replica comes up with costs one of them.
    second = {name: fleet.pid(name) for name in names}
    conf.write_text("bad", encoding="utf-8")
    fleet.until_event("roll.stopped", "web")
    now = {name: fleet.service(name)["pid"] for name in names}
    assert [now[name] == second[name] for name in names].count(True) == 2
    # The next change is another chance.
    conf.write_text("three", encoding="utf-8")
    for name in names:
        until(lambda name=name: fleet.service(name)["pid"] not in {None, second[name]}, "it is restarted")
        fleet.until_state(name, "ready")
