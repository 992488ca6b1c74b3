"""A configuration or a daemon is replaced: what did not change does not notice."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, alive, python, ticks, until

SAY = "import os, signal\nos.write(1, os.environ.get('SAY', 'here').encode() + b'\\n')\nsignal.pause()\n"


def services(say: str) -> dict[str, object]:
    return {
        "changing": {"command": python(SAY), "env": {"SAY": say}},
        "same": {"command": python(SAY)},
    }


def test_a_reload_restarts_what_changed_and_a_broken_file_changes_nothing(fleet: Fleet) -> None:
    fleet.write(services("one"))
    fleet.up()
    same, changing = fleet.pid("same"), fleet.pid("changing")
    fleet.write(services("two") | {"new": {"command": python(SAY)}})
    fleet.kill(fleet.keeper, signal.SIGHUP)
    assert until(lambda: fleet.service("changing")["pid"] not in {changing, None}, "changing is restarted")
    assert fleet.until_log("changing", "one\ntwo\n")
    fleet.until_state("changing", "ready")
    fleet.until_event("config.reloaded")
    fleet.until_log("new", "here")
    now = {name: row["pid"] for name, row in fleet.status().items()}
    assert now["same"] == same

    text = (fleet.path / "orchestra.json").read_text(encoding="utf-8")
    (fleet.path / "orchestra.json").write_text(text.replace('"same": {', '"same": {{'), encoding="utf-8")
    fleet.kill(fleet.keeper, signal.SIGHUP)
    refused = fleet.until_event("config.refused")
    line = 1 + text[: text.index('"same": {')].count("\n")
    assert f"orchestra.json:{line}" in json.dumps(refused)
    assert {name: row["pid"] for name, row in fleet.status().items()} == now
    done = fleet.run("reload")
    assert done.returncode == 3
    assert f"orchestra.json:{line}" in done.stderr
    # A daemon that comes now goes on with the fleet as it was last applied.
    old = fleet.kill_daemon()
    assert until(lambda: fleet.daemon()["pid"] != old, "a new daemon")
    assert {name: row["pid"] for name, row in fleet.status().items()} == now
    fleet.write({"same": {"command": python(SAY)}})
    assert fleet.run("reload").returncode == 0
    assert until(lambda: set(fleet.status()) == {"same"}, "the others are gone")
    assert fleet.pid("same") == same
    assert not any(alive(pid) for name, pid in now.items() if name != "same")


def test_usr2_to_the_keeper_replaces_the_daemon_and_no_service_notices(fleet: Fleet) -> None:
    fleet.write(services("one"))
    fleet.up()
    before = {name: (row["pid"], ticks(row["pid"]), row["restarts"]) for name, row in fleet.status().items()}
    daemon, logger = fleet.daemon(), fleet.role("logger")
    for _ in range(3):
        pid = fleet.daemon()["pid"]
        fleet.kill(fleet.keeper, signal.SIGUSR2)
        assert until(lambda pid=pid: fleet.daemon()["pid"] != pid, "a new daemon")
        assert not alive(pid)
    assert fleet.daemon()["daemon_starts"] == daemon["daemon_starts"] + 3
    after = {name: (row["pid"], ticks(row["pid"]), row["restarts"]) for name, row in fleet.status().items()}
    assert after == before
    assert fleet.role("logger") == logger
    assert len(fleet.events("daemon.replaced")) == 3
    assert "fail" not in fleet.said()


@pytest.mark.parametrize("damage", [b"garbage", b"", b'{"services": 7}'])
def test_a_damaged_record_of_the_applied_fleet_costs_no_service(fleet: Fleet, damage: bytes) -> None:
    fleet.write(services("one"))
    fleet.up()
    before = {name: row["pid"] for name, row in fleet.status().items()}
    (fleet.home / "fleet.json").write_bytes(damage)
    old = fleet.kill_daemon()
    assert until(lambda: fleet.daemon()["pid"] != old, "a new daemon")
    assert {name: row["pid"] for name, row in fleet.status().items()} == before
    assert fleet.service("changing")["state"] == "ready"
    assert "going on with the configuration files" in fleet.said()
    assert (fleet.home / "fleet.json.damaged").read_bytes() == damage


BREAK = """
import os, sys, time
how = os.path.join(os.path.dirname(__file__), "how")
if "orchestra_supervisor.daemon" in sys.orig_argv and os.path.exists(how):
    if open(how).read() == "hang":
        time.sleep(1000)
    os._exit(70)
"""


@pytest.mark.parametrize("how", ["end", "hang"])
def test_a_daemon_that_cannot_be_brought_back_costs_no_service_and_term_still_stops_all(
    fleet: Fleet, how: str
) -> None:
    (fleet.path / "site").mkdir()
    (fleet.path / "site/sitecustomize.py").write_text(BREAK, encoding="utf-8")
    fleet.write(
        {
            "base": {"command": python(SAY)},
            "top": {"command": python(SAY), "depends_on": ["base"]},
            "deaf": {
                "command": python("import signal; signal.signal(15, signal.SIG_IGN)\n" + SAY),
                "stop": {"grace": "200ms"},
            },
        }
    )
    path = f"{fleet.path}/site:{fleet.environ()['PYTHONPATH']}"
    fleet.up(PYTHONPATH=path)
    pids = [row["pid"] for row in fleet.status().values()]
    for name in ("base", "top", "deaf"):
        fleet.until_log(name, "here")
    keeper = fleet.keeper
    (fleet.path / "site/how").write_text(how, encoding="utf-8")
    fleet.kill_daemon()
    if how == "end":
        assert until(lambda: "in a row" in fleet.said(), "the keeper says that the daemon is broken")
    assert all(map(alive, pids))
    assert fleet.run("logs", "base").stdout == "here\n"
    fleet.kill(keeper, signal.SIGTERM)
    assert until(lambda: not alive(keeper), "the keeper ends")
    assert not any(map(alive, pids))
    assert fleet.processes() == []
    assert "stops 3 runs itself" in fleet.said()


def test_a_mended_daemon_is_taken_back_at_usr2(fleet: Fleet) -> None:
    (fleet.path / "site").mkdir()
    (fleet.path / "site/sitecustomize.py").write_text(BREAK, encoding="utf-8")
    fleet.write(services("one"))
    fleet.up(PYTHONPATH=f"{fleet.path}/site:{fleet.environ()['PYTHONPATH']}")
    before = {name: row["pid"] for name, row in fleet.status().items()}
    (fleet.path / "site/how").write_text("end", encoding="utf-8")
    fleet.kill_daemon()
    assert until(lambda: "in a row" in fleet.said(), "the keeper says that the daemon is broken")
    os.kill(before["changing"], signal.SIGKILL)
    Path(fleet.path / "site/how").unlink()
    fleet.kill(fleet.keeper, signal.SIGUSR2)
    row = fleet.until_state("changing", "ready")
    assert until(lambda: fleet.service("changing")["restarts"] == 1, "its end was acted on")
    assert row["name"] == "changing"
    assert fleet.pid("same") == before["same"]
