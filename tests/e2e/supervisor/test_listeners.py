"""Event listeners on a real fleet: what they are told, whatever becomes of them and of who tells them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.control_client import rows
from tests.e2e.fleet_driver import Fleet, alive, until
from tests.e2e.supervisor.listener_fleet import SLEEP, command, start, told_to, until_told

pytestmark = pytest.mark.slow


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path)
    yield one
    one.end()


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


def test_who_speaks_with_them_may_be_killed_at_any_time(fleet: Fleet) -> None:
    place = fleet.path / "rec"
    start(fleet, listener(fleet.path), program("web", autorestart="true"))
    until_told(place, "PROCESS_STATE_RUNNING", "processname:web")
    listener_pid = fleet.pid("rec")
    killed: list[str] = []
    for _ in range(6):
        fleet.kill(listening(fleet))
        killed.append(str(crash(fleet, "web")))
    until(lambda: set(killed) <= set(ends(place, "web")), f"all of {killed} are told of")
    assert list(dict.fromkeys(ends(place, "web"))) == killed
    serials = [one.poolserial for one in told_to(place)]
    assert sorted(set(serials)) == list(range(max(serials) + 1)), "none is lost"
    assert len(serials) <= len(set(serials)) + 6, "at most one is told twice for each death"
    if fleet.pid("rec") == listener_pid:
        assert {one.pid for one in told_to(place)} == {listener_pid}


def test_a_daemon_that_is_killed_costs_no_event(fleet: Fleet) -> None:
    place = fleet.path / "rec"
    start(fleet, listener(fleet.path), program("web", autorestart="true"))
    until_told(place, "PROCESS_STATE_RUNNING", "processname:web")
    pids = (fleet.pid("rec"), listening(fleet))
    killed: list[str] = []
    for _ in range(4):
        pid = fleet.pid("web")
        fleet.kill_daemon()
        fleet.kill(pid)
        killed.append(str(pid))
        until(lambda: fleet.service("web")["pid"] not in {None, int(killed[-1])}, "web runs again")
    until(lambda: ends(place, "web")[len(killed) - 1 :], f"all of {killed} are told of")
    assert ends(place, "web") == killed
    assert (fleet.pid("rec"), listening(fleet)) == pids
    states = [one.name.rpartition("_")[2] for one in told_to(place) if "processname:web" in one.payload]
    assert states == ["STARTING", "RUNNING", *["EXITED", "STARTING", "RUNNING"] * len(killed)]


def test_what_a_listener_had_when_it_died_goes_to_the_next_of_its_pool(fleet: Fleet) -> None:
    place = fleet.path / "rec"
    (fleet.path / "rec.order").write_text("die", encoding="utf-8")
    start(
        fleet,
        listener(fleet.path, numprocs=2, process_name="%(program_name)s_%(process_num)d", autorestart="true"),
        program("web"),
    )
    running = until_told(place, "PROCESS_STATE_RUNNING", "processname:web")
    told = told_to(place)
    first = next(
        one for one in told if told.count(one) == 1 and [x.serial for x in told].count(one.serial) == 2
    )
    again = [one for one in told if one.serial == first.serial]
    assert [(one.name, one.payload, one.poolserial) for one in again] == [
        (first.name, first.payload, first.poolserial)
    ] * 2
    assert again[0].pid != again[1].pid
    assert running.pool == "rec"
    until_told(place, "PROCESS_STATE_EXITED", f"expected:0 pid:{again[0].pid}")


def test_a_refused_event_comes_again_and_before_all_others(fleet: Fleet) -> None:
    place = fleet.path / "rec"
    (fleet.path / "rec.order").write_text("fail", encoding="utf-8")
    start(fleet, listener(fleet.path), program("web"))
    until_told(place, "PROCESS_STATE_RUNNING", "processname:web")
    serials = [one.serial for one in told_to(place)]
    assert serials[0] == serials[1]
    assert serials[1:] == sorted(set(serials))
    assert b"rec: event was rejected" in fleet.log("@listeners")


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ("garbage", b"rec: bad result line: 'so what?'"),
        ("flood", b"rec: has entered the UNKNOWN state and will no longer receive events"),
    ],
)
def test_who_breaks_the_protocol_gets_nothing_more_until_it_is_started_anew(
    fleet: Fleet, order: str, text: bytes
) -> None:
    place, other = fleet.path / "rec", fleet.path / "other"
    (fleet.path / "rec.order").write_text(order, encoding="utf-8")
    start(
        fleet,
        listener(fleet.path, buffer_size=100),
        listener(fleet.path, "other"),
        program("web", autorestart="true"),
    )
    fleet.until_log("@listeners", text.decode())
    fleet.until_log("@listeners", "rec: has entered the UNKNOWN state")
    pid = crash(fleet, "web")
    until_told(other, "PROCESS_STATE_EXITED", f"pid:{pid}")
    assert len(told_to(place)) == 1, "nobody else is disturbed, and it is told nothing"
    assert alive(fleet.pid("rec"))
    fleet.ok("restart", "rec")
    until_told(place, "PROCESS_STATE_EXITED", f"pid:{pid}")
    assert told_to(place)[0].serial in [one.serial for one in told_to(place)[1:]], "what it had was kept"


def test_a_listener_that_never_answers_costs_its_pool_the_oldest_events(fleet: Fleet) -> None:
    place, other = fleet.path / "rec", fleet.path / "other"
    start(
        fleet,
        listener(fleet.path, act="mute", events="PROCESS_STATE_EXITED", buffer_size=2),
        listener(fleet.path, "other", events="PROCESS_STATE_EXITED"),
        program("web", autorestart="true"),
    )
    pids = [crash(fleet, "web") for _ in range(5)]
    until(lambda: len(told_to(other)) == 5, "the other pool is told of all")
    assert [one.payload.rpartition("pid:")[2] for one in told_to(place)] == [str(pids[0])]
    lost = [one.serial for one in told_to(other)][1:3]
    log = fleet.until_log("@listeners", f"discarding event {lost[-1]}").decode()
    for serial in lost:
        assert f"pool rec event buffer overflowed, discarding event {serial}" in log
    fleet.kill(listening(fleet))
    assert alive(fleet.pid("rec")), "it goes on"
    fleet.kill(fleet.pid("rec"))
    (fleet.path / "rec.order").write_text("ok", encoding="utf-8")
    until(lambda: len(told_to(place)) >= 2, "it is told again")
    assert told_to(place)[1].serial == told_to(place)[0].serial


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
    (fleet.path / "supervisord.conf").write_text(text, encoding="utf-8")
    fleet.ok("reload")
    assert fleet.run("status", "@listeners").returncode == 5
