"""Event listeners on a real fleet: what they are told, whatever becomes of them and of who tells them."""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from orchestra_supervisor.control_client import rows
from orchestra_supervisor.engine.last_words import PATIENCE
from tests.e2e.fleet_driver import Fleet, alive, until
from tests.e2e.supervisor.listener_fleet import SLEEP, Told, command, conf, start, told_to, until_told
from tests.e2e.supervisor.pair import Orchestra, free_port

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Crowd:
    """A fleet, and the pids of the program that was killed again and again."""

    fleet: Fleet
    killed: list[str]

    def told(self, name: str) -> list[Told]:
        """Return what a listener was told."""
        return told_to(self.fleet.path / name)

    def serials(self, name: str) -> list[int]:
        """Return the numbers of what a listener was told; `web` alone is looked at."""
        return [one.serial for one in self.told(name) if "processname:web" in one.payload]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path)
    yield one
    one.end()


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Orchestra]:
    one = Orchestra(tmp_path / "side", free_port())
    yield one
    one.end()


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """A fleet with listeners of every kind, and a program that was killed five times."""
    fleet = Fleet(tmp_path_factory.mktemp("crowd"))
    for name, order in (("dies", "die"), ("refuses", "fail"), ("babbles", "garbage"), ("floods", "flood")):
        (fleet.path / f"{name}.order").write_text(order, encoding="utf-8")
    exits, size = "PROCESS_STATE_EXITED", 100
    pool = {"numprocs": 2, "process_name": "%(program_name)s_%(process_num)d", "autorestart": "true"}
    try:
        start(
            fleet,
            listener(fleet.path, "calm", exits, buffer_size=size),
            listener(fleet.path, "dies", exits, buffer_size=size, **pool),
            listener(fleet.path, "refuses", exits, buffer_size=size),
            listener(fleet.path, "babbles", exits, buffer_size=size),
            listener(fleet.path, "floods", exits, buffer_size=size),
            listener(fleet.path, "silent", exits, act="mute", buffer_size=2),
            program("web", autorestart="true"),
        )
        killed = [crash(fleet, "web") for _ in range(5)]
        until_told(fleet.path / "calm", exits, f"pid:{killed[-1]}")
        yield Crowd(fleet, [str(pid) for pid in killed])
    finally:
        fleet.end()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with one listener of states of processes, and a program."""
    fleet = Fleet(tmp_path_factory.mktemp("recorded"))
    try:
        start(fleet, listener(fleet.path), program("web", autorestart="true"))
        until_told(fleet.path / "rec", "PROCESS_STATE_RUNNING", "processname:web")
        yield fleet
    finally:
        fleet.end()


def listener(folder: Path, name: str = "rec", events: str = "PROCESS_STATE", **options: object) -> str:
    act = str(options.pop("act", "ok"))
    lines = [
        f"[eventlistener:{name}]",
        f"command={command(folder, name, act)}",
        f"events={events}",
        "startsecs=0",
    ]
    return "\n".join([*lines, *(f"{key}={value}" for key, value in options.items())])


def program(name: str, run: str = SLEEP, **options: object) -> str:
    lines = [f"[program:{name}]", f"command={run}", "startsecs=0"]
    return "\n".join([*lines, *(f"{key}={value}" for key, value in options.items())])


def crash(fleet: Fleet, service: str) -> int:
    """Kill a program; return its pid once the next one runs."""
    pid = fleet.pid(service)
    fleet.kill(pid)
    until(lambda: fleet.service(service)["pid"] not in {None, pid}, f"{service} runs again")
    return pid


def listening(fleet: Fleet) -> int:
    """Return the pid of who speaks with listeners."""

    def look() -> int | None:
        pid = rows(fleet.client.status(["@listeners"]), "services")[0]["pid"]
        return pid if isinstance(pid, int) else None

    return until(look, "@listeners runs")


def ends(place: Path, service: str) -> list[str]:
    """Return the pids of which a listener was told that they have exited, each as often as it was told."""
    words = f"processname:{service} "
    exits = [
        one.payload for one in told_to(place) if one.name == "PROCESS_STATE_EXITED" and words in one.payload
    ]
    return [payload.rpartition("pid:")[2] for payload in exits]


def test_who_speaks_with_them_may_be_killed_at_any_time(recorded: Fleet) -> None:
    fleet, place = recorded, recorded.path / "rec"
    listener_pid = fleet.pid("rec")
    killed: list[str] = []
    for _ in range(6):
        fleet.kill(listening(fleet))
        killed.append(str(crash(fleet, "web")))
    until(lambda: set(killed) <= set(ends(place, "web")), f"all of {killed} are told of")
    until_told(place, "PROCESS_STATE_RUNNING", f"pid:{fleet.pid('web')}")
    assert list(dict.fromkeys(ends(place, "web"))) == killed
    serials = [one.poolserial for one in told_to(place)]
    assert sorted(set(serials)) == list(range(max(serials) + 1)), "none is lost"
    assert len(serials) <= len(set(serials)) + 6, "at most one is told twice for each death"
    if fleet.pid("rec") == listener_pid:
        assert {one.pid for one in told_to(place)} == {listener_pid}


def test_a_listener_of_which_nobody_knows_what_it_heard_is_started_anew(recorded: Fleet) -> None:
    fleet, place = recorded, recorded.path / "rec"
    until_told(place, "PROCESS_STATE_RUNNING", f"pid:{fleet.pid('web')}")
    row, before = fleet.service("rec"), len(told_to(place))
    fleet.ok("stop", "@listeners")
    killed = crash(fleet, "web")
    (fleet.home / "listeners" / "doubt.json").write_text(json.dumps([row["run"]]), encoding="utf-8")
    fleet.ok("start", "@listeners")
    until(lambda: fleet.service("rec")["pid"] not in {None, row["pid"]}, "it has another run")
    until_told(place, "PROCESS_STATE_RUNNING", f"pid:{fleet.pid('rec')}")
    told = told_to(place)[before:]
    assert {one.pid for one in told} == {fleet.pid("rec")}
    assert f"expected:0 pid:{killed}" in told[0].payload, "what came meanwhile has waited"
    assert [one.poolserial for one in told] == list(range(told[0].poolserial, told[-1].poolserial + 1))
    assert b"rec: what it was told last is not known, it is started anew" in fleet.log("@listeners")


def test_a_daemon_that_is_killed_costs_no_event(recorded: Fleet) -> None:
    fleet, place = recorded, recorded.path / "rec"
    until_told(place, "PROCESS_STATE_RUNNING", f"pid:{fleet.pid('web')}")
    pids, before = (fleet.pid("rec"), listening(fleet)), len(told_to(place))
    killed: list[int] = []
    for _ in range(3):
        killed.append(fleet.pid("web"))
        fleet.kill_daemon()
        fleet.kill(killed[-1])
        until(lambda: fleet.service("web")["pid"] not in {None, killed[-1]}, "web runs again")
    until_told(place, "PROCESS_STATE_RUNNING", f"pid:{fleet.pid('web')}")
    assert (fleet.pid("rec"), listening(fleet)) == pids
    told = told_to(place)[before:]
    states = [one.name.rpartition("_")[2] for one in told if "processname:web" in one.payload]
    assert states == ["EXITED", "STARTING", "RUNNING"] * len(killed)
    exits = [one.payload.rpartition("pid:")[2] for one in told if one.name == "PROCESS_STATE_EXITED"]
    assert exits == [str(pid) for pid in killed]


def test_what_a_listener_had_when_it_died_goes_to_the_next_of_its_pool(crowd: Crowd) -> None:
    until(lambda: len(crowd.serials("dies")) >= 6, "all is told")
    serials = crowd.serials("dies")
    first, second = (one for one in crowd.told("dies") if serials.count(one.serial) == 2)
    assert (second.serial, second.poolserial) == (first.serial, first.poolserial)
    assert (second.name, second.payload, second.pool) == (first.name, first.payload, "dies")
    assert second.pid != first.pid
    until_told(crowd.fleet.path / "dies", "PROCESS_STATE_EXITED", f"expected:0 pid:{first.pid}")


def test_a_refused_event_comes_again_and_before_all_others(crowd: Crowd) -> None:
    until(lambda: len(crowd.serials("refuses")) >= 6, "all is told")
    serials = crowd.serials("refuses")
    assert serials[0] == serials[1]
    assert serials[1:] == sorted(set(serials))
    assert b"refuses: event was rejected" in crowd.fleet.log("@listeners")


@pytest.mark.parametrize("name", ["babbles", "floods"])
def test_who_breaks_the_protocol_gets_nothing_more_until_it_is_started_anew(crowd: Crowd, name: str) -> None:
    crowd.fleet.until_log("@listeners", f"{name}: bad result line: '")
    unknown = f"{name}: has entered the UNKNOWN state and will no longer receive events, "
    crowd.fleet.until_log(
        "@listeners", f"{unknown}this usually indicates the process violated the eventlistener protocol"
    )
    (first,) = crowd.told(name)
    assert alive(crowd.fleet.pid(name))
    crowd.fleet.ok("restart", name)
    until_told(crowd.fleet.path / name, "PROCESS_STATE_EXITED", f"pid:{crowd.killed[-1]}")
    serials = [one.serial for one in crowd.told(name) if "processname:web" in one.payload]
    assert serials == [first.serial, *crowd.serials("calm")], "what it had was kept, and what came meanwhile"


def test_a_listener_that_never_answers_costs_its_pool_the_oldest_events(crowd: Crowd) -> None:
    (first,) = crowd.told("silent")
    lost = crowd.serials("calm")[1:3]
    for serial in lost:
        words = f"pool silent event buffer overflowed, discarding event {serial}"
        crowd.fleet.until_log("@listeners", words)
    pid = crowd.fleet.pid("silent")
    crowd.fleet.kill(listening(crowd.fleet))
    assert crowd.fleet.pid("silent") == pid, "it goes on with whoever comes next"
    crowd.fleet.kill(pid)
    until(lambda: len(crowd.told("silent")) > 1, "the next one is told")
    assert crowd.told("silent")[1].serial == first.serial
    assert crowd.told("silent")[1].pid != pid


def test_listeners_hear_of_the_end_of_all_others(fleet: Fleet) -> None:
    place = fleet.path / "rec"
    slow = "/bin/sh -c 'trap \"sleep 0.5; exit\" TERM; echo up; while :; do sleep 0.05; done'"
    start(fleet, listener(fleet.path, events="EVENT", buffer_size=100), program("web"), program("db", slow))
    fleet.until_log("db", "up")
    until_told(place, "PROCESS_STATE_RUNNING", "processname:web")
    fleet.ok("down")
    told = [one for one in told_to(place) if not one.name.startswith("TICK")]
    names = [one.name for one in told]
    assert names[0] == "PROCESS_GROUP_ADDED"
    stopping = names.index("SUPERVISOR_STATE_CHANGE_STOPPING")
    words = [" ".join((one.name, *one.payload.split()[:1])) for one in told[stopping + 1 :]]
    assert sorted(words[:2]) == [f"PROCESS_STATE_STOPPING processname:{name}" for name in ("db", "web")]
    assert words[2] == "PROCESS_STATE_STOPPED processname:web", "what is left is the last of all"


def test_who_speaks_with_them_may_be_late_when_all_goes_down(fleet: Fleet) -> None:
    place = fleet.path / "rec"
    start(fleet, listener(fleet.path, events="EVENT", buffer_size=100), program("web"))
    until_told(place, "PROCESS_STATE_RUNNING", "processname:web")
    speaker = listening(fleet)
    fleet.kill(speaker, signal.SIGSTOP)
    fleet.client.shutdown()
    fleet.until_event("listeners.last")
    fleet.kill(speaker, signal.SIGCONT)
    until(lambda: not fleet.processes(), "all is down")
    told = [one for one in told_to(place) if not one.name.startswith("TICK")]
    names = [one.name for one in told[-3:]]
    assert names == [
        "SUPERVISOR_STATE_CHANGE_STOPPING",
        "PROCESS_STATE_STOPPING",
        "PROCESS_STATE_STOPPED",
    ]
    assert told[-1].payload.startswith("processname:web ")


def test_one_that_does_not_answer_holds_nothing_up_for_long(fleet: Fleet) -> None:
    start(fleet, listener(fleet.path, events="EVENT"), program("web"))
    until_told(fleet.path / "rec", "PROCESS_STATE_RUNNING", "processname:web")
    fleet.kill(fleet.pid("rec"), signal.SIGSTOP)
    fleet.client.shutdown()
    began = time.monotonic()
    until(lambda: not fleet.processes(), "all is down")
    assert time.monotonic() - began < 2 * PATIENCE + 3.0, "it waits, and its stop sequence follows"


def test_clients_are_shown_listeners_and_not_who_speaks_with_them(side: Orchestra) -> None:
    fleet = side.fleet
    start(fleet, listener(fleet.path), program("web"))
    until_told(fleet.path / "rec", "PROCESS_STATE_RUNNING", "processname:web")
    pid = listening(fleet)
    shown = [line.split()[:2] for line in side.ctl("status").said.splitlines()]
    assert shown == [["rec", "RUNNING"], ["web", "RUNNING"]]
    assert set(fleet.status()) == {"rec", "web"}
    assert (fleet.daemon()["services"], fleet.daemon()["ready"]) == (2, 2)
    configured = cast("list[dict[str, object]]", side.call("supervisor.getAllConfigInfo"))
    assert [one["name"] for one in configured] == ["rec", "web"]
    assert side.ctl("avail").said.count("\n") == 2
    assert side.call("supervisor.reloadConfig") == [[[], [], []]]
    for method in ("getProcessInfo", "stopProcess", "addProcessGroup", "removeProcessGroup"):
        assert side.call(f"supervisor.{method}", "@listeners") == ("fault", 10, "BAD_NAME: @listeners")
    assert side.call("supervisor.sendProcessStdin", "rec", "x") == ("fault", 20, "NO_FILE: rec")
    stopped = cast("list[dict[str, object]]", side.call("supervisor.stopAllProcesses"))
    assert sorted(str(one["name"]) for one in stopped) == ["rec", "web"]
    assert side.ctl("update").said == ""
    fleet.ok("start", "all")
    until_told(fleet.path / "rec", "PROCESS_STATE_RUNNING", f"pid:{fleet.pid('web')}")
    assert listening(fleet) == pid, "it is not one of all"


def test_neither_listeners_nor_who_speaks_with_them_keep_a_fleet_from_ending(fleet: Fleet) -> None:
    more = {"services": {}, "settings": {"exit_when": {"all_ended": True}}}
    (fleet.path / "more.json").write_text(json.dumps(more), encoding="utf-8")
    until_told_some = f"/bin/sh -c 'until [ -s {fleet.path}/rec ]; do sleep 0.05; done; exit 4'"
    sections = (listener(fleet.path), program("job", until_told_some, autorestart="false"))
    (fleet.path / "supervisord.conf").write_text(conf(fleet.path, *sections), encoding="utf-8")
    done = fleet.run("up", "--exec", "-c", "supervisord.conf", "-c", "more.json")
    assert done.returncode == 1, f"{done.stdout}{done.stderr}"
    assert "nothing is left to run; failed: job" in done.stderr
    assert told_to(fleet.path / "rec")


def test_a_fleet_without_listeners_has_nobody_who_speaks_with_them(fleet: Fleet) -> None:
    place = fleet.path / "rec"
    start(fleet, program("web"))
    assert fleet.run("status", "@listeners").returncode == 5
    text = (fleet.path / "supervisord.conf").read_text(encoding="utf-8")
    more = "\n\n".join((text, listener(fleet.path, events="EVENT", buffer_size=100), program("db")))
    (fleet.path / "supervisord.conf").write_text(more, encoding="utf-8")
    fleet.ok("reload")
    until_told(place, "PROCESS_STATE_RUNNING", "processname:db")
    told = [(one.name, one.payload) for one in told_to(place)]
    assert ("PROCESS_GROUP_ADDED", "groupname:rec\n") in told
    assert not [one for one in told if "web" in one[1]], "what was there before is no news"
    (changed,) = fleet.events("fleet.changed")
    assert (sorted(changed["data"]["added"]), changed["data"]["removed"]) == (["db", "rec"], [])
    assert changed["message"] == "2 services come, 0 go"
    (fleet.path / "supervisord.conf").write_text(text, encoding="utf-8")
    fleet.ok("reload")
    assert fleet.run("status", "@listeners").returncode == 5
