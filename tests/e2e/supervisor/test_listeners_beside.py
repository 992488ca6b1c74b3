"""The same supervisord.conf with one listener under supervisord and under us: what it is told is compared.

Left out of the comparison: pids, times of day, the order between different processes (and streams of one),
how output is cut into pieces, and what supervisord's listeners do not live to hear while it goes down.
"""

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import until
from tests.e2e.supervisor.listener_fleet import Told, command, conf, told_to, until_told
from tests.e2e.supervisor.pair import Orchestra, Side, Supervisord, free_port

pytestmark = pytest.mark.slow

TALK = """
import sys, time
sys.stdout.write("hello"); sys.stdout.flush(); time.sleep(0.3)
sys.stdout.write(", world, says a program\\n<!--XSUPERVISOR:BEGIN-->a word: d\\u00e5ta<!--XSUPERVISOR:END-->")
sys.stdout.write("and goes on for longer than a mark is\\n"); sys.stdout.flush()
sys.stderr.write("something is wrong, it says, at length\\n"); sys.stderr.flush()
time.sleep(1000)
"""
PROGRAMS = """
[program:calm]
command=/bin/sleep 1000
priority=1
startsecs=0

[program:crash]
command=/bin/sh -c "sleep 1.2; exit 3"
autorestart=false

[program:fine]
command=/bin/sh -c "sleep 1.2; exit 0"
autorestart=unexpected

[program:quick]
command=/bin/sh -c "exit 1"
startsecs=5
startretries=1

[program:again]
command=/bin/sleep 1000
startsecs=0
autorestart=true

[program:talk]
command={python} -I -S {folder}/talk.py
environment=PYTHONIOENCODING="utf-8"
startsecs=0
stdout_events_enabled=true
stderr_events_enabled=true
stdout_capture_maxbytes=1MB

[group:pair]
programs=left,right

[program:left]
command=/bin/sleep 1000
startsecs=0

[program:right]
command=/bin/sleep 1000
startsecs=0
autostart=false
"""


def write(side: Side) -> None:
    folder = side.folder
    (folder / "talk.py").write_text(TALK, encoding="utf-8")
    pool = (
        f"[eventlistener:rec]\ncommand={command(folder, 'rec')}\nevents=EVENT\nbuffer_size=1000\nstartsecs=0"
    )
    programs = PROGRAMS.format(python=sys.executable, folder=folder)
    text = conf(folder, pool, programs).replace("nodaemon=true", "nodaemon=true\nidentifier=twin")
    (folder / "supervisord.conf").write_text(text, encoding="utf-8")


def play(side: Side) -> list[Told]:
    """Run it through crashes and stops; return what its listener was told."""
    place = side.folder / "rec"
    side.up()
    for name, words in (
        ("FATAL", "processname:quick"),
        ("EXITED", "processname:crash"),
        ("EXITED", "processname:fine"),
    ):
        until_told(place, f"PROCESS_STATE_{name}", words)
    until_told(place, "PROCESS_LOG_STDERR", "at length")
    until_told(place, "PROCESS_LOG_STDOUT", "goes on")
    pid = side.infos()["again:again"]["pid"]
    assert side.call("supervisor.signalProcess", "again", "KILL") is True
    until(lambda: side.infos()["again:again"]["pid"] not in {0, pid}, "again runs again")
    calls: list[tuple[str, *tuple[object, ...]]] = [
        ("stopProcess", "calm"),
        ("startProcess", "calm"),
        ("startProcess", "pair:right"),
        ("stopProcessGroup", "pair"),
        ("removeProcessGroup", "pair"),
        ("reloadConfig",),
        ("addProcessGroup", "pair"),
        ("startProcess", "quick", False),
        ("sendRemoteCommEvent", "a kind", "d\u00e5ta\nin lines"),
        ("removeProcessGroup", "crash"),
    ]
    for name, *params in calls:
        side.call(f"supervisor.{name}", *params)
    until_told(place, "PROCESS_GROUP_REMOVED", "crash")
    until(
        lambda: len([one for one in told_to(place) if one.name == "PROCESS_STATE_FATAL"]) == 2,
        "it gives up again",
    )
    until_told(place, "TICK_5")
    assert side.call("supervisor.shutdown") is True
    until_told(place, "SUPERVISOR_STATE_CHANGE_STOPPING")
    return told_to(place)


def plain(told: Told) -> str:
    return f"{told.name} {re.sub(r'pid:[1-9][0-9]*', 'pid:N', told.payload)}"


def by_subject(told: list[Told]) -> dict[str, list[str]]:
    """Return the events of each process, group, and of the whole; output is put together."""
    found: dict[str, list[str]] = {}
    for one in told:
        if one.name.startswith("TICK"):
            continue
        if one.name.startswith("PROCESS_LOG"):
            head, _, data = one.payload.partition("\n")
            key = f"{one.name} {re.sub(r'pid:[0-9]+', 'pid:N', head)}"
            found.setdefault(key, [""])[0] += data
            continue
        match = re.match(r"(processname|groupname):\S+", one.payload)
        found.setdefault(match[0] if match else "", []).append(plain(one))
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Told]]]:
    folder = tmp_path_factory.mktemp("beside")
    sides: dict[str, Side] = {
        "supervisord": Supervisord(folder / "supervisord", free_port()),
        "orchestra": Orchestra(folder / "orchestra", free_port()),
    }
    try:
        for side in sides.values():
            write(side)
        with ThreadPoolExecutor(2) as pool:
            told = dict(zip(sides, pool.map(play, sides.values()), strict=True))
        yield told
    finally:
        for side in sides.values():
            side.end()


def cut(told: list[Told]) -> list[Told]:
    """Return what was told before everything goes down."""
    names = [one.name for one in told]
    return told[: names.index("SUPERVISOR_STATE_CHANGE_STOPPING") + 1]


def test_a_listener_is_told_the_same(played: dict[str, list[Told]]) -> None:
    theirs, ours = (by_subject(cut(played[side])) for side in ("supervisord", "orchestra"))
    assert ours == theirs
    assert len(ours) > 15


def test_events_are_numbered_the_same(played: dict[str, list[Told]]) -> None:
    for told in played.values():
        assert [one.serial for one in told] == list(range(len(told)))
        assert [one.poolserial for one in told] == list(range(len(told)))
        assert {one.pool for one in told} == {"rec"}


def test_both_begin_with_their_groups(played: dict[str, list[Told]]) -> None:
    theirs, ours = (played[side] for side in ("supervisord", "orchestra"))
    count = [one.name for one in theirs].index("SUPERVISOR_STATE_CHANGE_RUNNING") + 1
    assert sorted(map(plain, ours[:count])) == sorted(map(plain, theirs[:count]))
    assert [plain(one) for one in (ours[0], ours[1], ours[count - 1])] == [
        "PROCESS_GROUP_ADDED groupname:rec\n",
        "PROCESS_GROUP_ADDED groupname:calm\n",
        "SUPERVISOR_STATE_CHANGE_RUNNING ",
    ]


def test_ticks_begin_when_slices_of_the_day_do(played: dict[str, list[Told]]) -> None:
    for told in played.values():
        ticks = [one for one in told if one.name == "TICK_5"]
        assert ticks
        assert all(int(one.payload.removeprefix("when:")) % 5 == 0 for one in ticks)


def test_headers_are_the_same(
    played: dict[str, list[Told]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    del played
    folder = next(tmp_path_factory.getbasetemp().glob("beside*"))
    keys = []
    for side in ("supervisord", "orchestra"):
        line = Path(folder / side / "rec").read_text(encoding="utf-8").splitlines()[0]
        keys.append(re.sub(r'"pid": [0-9]+', "", line))
    assert keys[0] == keys[1]
    assert '"server": "twin"' in keys[0]
