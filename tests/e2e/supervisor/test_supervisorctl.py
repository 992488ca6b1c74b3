"""The stock supervisorctl against a real supervisord and against Orchestra, side by side."""

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import DEADLINE, state_of, until
from tests.e2e.supervisor.pair import Pair, Program, Ran, Side

pytestmark = pytest.mark.slow

PROGRAMS = [
    Program.sleeping("web", "hello", priority=10),
    Program.sleeping("db", "data", group="back", priority=2),
    Program.sleeping("cache", "warm", group="back", priority=1),
    Program.sleeping("off", "idle", autostart=False),
    Program.shell("brief", "sleep 0.5; echo was here", autostart=False),
    Program.shell("broken", "echo oh; sleep 0.5; exit 7", startsecs=3, startretries=0),
    Program("missing", "/no/such/program", autostart=False),
]


def both(pair: Pair, *words: str, inet: bool = False) -> Ran:
    """Run a command on both sides, whose words and status must be the same, and return ours."""
    theirs, ours = pair.ctl(*words, inet=inet)
    assert (ours.status, in_any_order(ours, words)) == (theirs.status, in_any_order(theirs, words)), words
    return ours


def in_any_order(ran: Ran, words: tuple[str, ...]) -> list[str]:
    """Return the lines; where several are stopped, they are told of as they are done."""
    lines = ran.said.splitlines(keepends=True)
    return sorted(lines) if words[0] in {"stop", "restart"} else lines


@pytest.mark.timeout(120)
def test_every_command_says_what_it_says_to_supervisord(pair: Pair) -> None:
    pair.write(PROGRAMS)
    pair.up()
    pair.settle()

    status = both(pair, "status")
    assert status.status == 3, "something is stopped"
    assert status.said.splitlines()[0].split() == ["back:cache", "RUNNING", "pid", "N,", "uptime", "T"]
    assert both(pair, "status", inet=True) == status
    assert both(pair, "status", "web", "back:*", "web:*").status == 0
    assert both(pair, "status", "nobody", "back:nobody").status == 4
    for words in (("pid",), ("pid", "web"), ("pid", "all"), ("pid", "off"), ("pid", "nobody"), ("version",)):
        both(pair, *words)
    assert both(pair, "avail").said.count("in use") == len(PROGRAMS)

    assert both(pair, "start", "off", "web").said == "off: started\nweb: ERROR (already started)\n"
    assert both(pair, "start", "missing").said == "missing: ERROR (no such file)\n"
    assert both(pair, "start", "broken").status == 7
    assert both(pair, "start", "nobody:*").status == 2
    assert both(pair, "start", "brief").status == 0
    both(pair, "start")
    assert both(pair, "stop", "back:*").said == "back:cache: stopped\nback:db: stopped\n"
    assert both(pair, "stop", "back:db", "nobody").status == 1
    assert both(pair, "restart", "web", "back:*", inet=True).status == 0
    assert both(pair, "signal", "USR2", "off").said == "off: signalled\n"
    pair.settle("brief:brief")  # USR2 ends a sleep
    both(pair, "signal", "HUPP", "web")
    both(pair, "signal", "HUP", "off")
    both(pair, "signal", "0", "all")
    both(pair, "stop", "all")
    assert both(pair, "status").said.count("STOPPED") == 4
    both(pair, "start", "all", inet=True)
    pair.settle("brief:brief")
    both(pair, "status")

    until(lambda: "hello" in pair.supervisord.ctl("tail", "web").said, "supervisord has read its pipe")
    assert both(pair, "tail", "-6", "web").said == "hello\n\n"
    assert both(pair, "tail", "web", "stderr", inet=True).said.endswith("hello badly\n\n")
    for words in (("tail",), ("tail", "nobody"), ("tail", "-x", "web"), ("tail", "web", "both")):
        both(pair, *words)
    assert both(pair, "clear", "web", "nobody").said == "web: cleared\nnobody: ERROR (no such process)\n"
    assert both(pair, "tail", "web").said == "\n"
    both(pair, "clear", "all")
    theirs, ours = pair.ctl("maintail", "-100")
    assert (theirs.status, ours.status) == (0, 0)
    for words in (("maintail", "x"), ("maintail", "a", "b"), ("nonsense",), ("fg",), ("fg", "off", "web")):
        both(pair, *words)
    both(pair, "fg", "nobody")
    both(pair, "shutdown", "now")


@pytest.mark.timeout(120)
def test_groups_come_change_and_go_as_the_files_say(pair: Pair) -> None:
    first = [PROGRAMS[0], PROGRAMS[1], PROGRAMS[2]]
    pair.write(first)
    pair.up()
    pair.settle()
    assert both(pair, "reread").said == "No config updates to processes\n"
    assert both(pair, "update") == Ran(0, "")

    changed = Program.sleeping("web", "hello again", priority=10)
    pair.write([changed, PROGRAMS[1], PROGRAMS[2], PROGRAMS[3], Program.sleeping("new")])
    assert both(pair, "reread").said == "new: available\noff: available\nweb: changed\n"
    assert "new" not in both(pair, "status").said
    assert both(pair, "avail").said.count("avail ") == 2
    assert both(pair, "add", "new", "web", "nobody").status == 1
    both(pair, "remove", "new", "nobody")
    both(pair, "update", "new", "nobody")
    pair.settle()
    pids = {side: side.infos()["back:db"]["pid"] for side in pair.sides}
    both(pair, "update")
    pair.settle()
    both(pair, "status")
    for side in pair.sides:
        assert side.infos()["back:db"]["pid"] == pids[side], "an unchanged group is left alone"
        until(lambda side=side: "hello again" in side.ctl("tail", "web").said, "the new command runs")

    pair.write([changed])
    assert both(pair, "reread").said == "back: disappeared\nnew: disappeared\noff: disappeared\n"
    both(pair, "remove", "back")
    both(pair, "stop", "back:*")
    assert both(pair, "remove", "back").said == "back: removed process group\n"
    both(pair, "update", "all")
    both(pair, "status")

    for side in pair.sides:
        (side.folder / "supervisord.conf").write_text("[program:x]\nautostart=maybe\n", encoding="utf-8")
    for ran in pair.ctl("reread"):
        assert ran.status == 1
        assert ran.said.startswith("ERROR: CANT_REREAD: ")
    both(pair, "status")


@pytest.mark.timeout(120)
def test_a_process_is_written_to_as_under_supervisord(pair: Pair) -> None:
    asking = Program.shell("ask", "read a; echo got $a; read b; echo and $b; exec sleep 1000")
    deaf = Program.shell("deaf", "exec 0</dev/null; echo deaf; exec sleep 1000")
    pair.write([asking, deaf, Program.sleeping("off", autostart=False)])
    pair.up()
    pair.settle()

    def send(*params: object) -> object:
        theirs, ours = pair.call("supervisor.sendProcessStdin", *params)
        assert ours == theirs, params
        return ours

    def logged(name: str, text: str) -> None:
        for side in pair.sides:
            until(lambda side=side: text in side.ctl("tail", name).said, f"{name} has said {text!r}")

    logged("deaf", "deaf")
    assert send("ask", "on") is True
    assert send("ask:ask", "e\n") is True
    logged("ask", "got one\n")
    assert send("deaf", "x\n") == ("fault", 20, "NO_FILE: deaf")
    assert send("off", "x\n") == ("fault", 70, "NOT_RUNNING: off")
    assert send("nobody", "x\n") == ("fault", 10, "BAD_NAME: nobody")
    assert send("ask:*", "x\n") == ("fault", 10, "BAD_NAME: ask:*")
    both(pair, "fg", "off")
    both(pair, "signal", "CONT", "ask")
    for side in pair.sides:
        with follow(side, ("fg", "ask"), inet=False) as client:
            try:
                read_until(client, b"got one\n")
                assert client.stdin is not None
                client.stdin.write(b"two\n")
                client.stdin.flush()
                read_until(client, b"and two\n")
            finally:
                client.kill()  # its own thread outlives the end of its input
    told = pair.orchestra.fleet.ok("events")
    assert "input ask" in told
    assert "two" not in told


@pytest.mark.timeout(120)
def test_a_group_that_was_removed_is_added_again_as_the_files_were_last_read(pair: Pair) -> None:
    pair.write(PROGRAMS[:4])
    pair.up()
    pair.settle()
    pair.write(PROGRAMS[:1])  # nobody has read that
    both(pair, "stop", "back:*")
    assert both(pair, "remove", "back").said == "back: removed process group\n"
    assert both(pair, "remove", "off").said == "off: removed process group\n"
    assert both(pair, "avail").said.count("avail ") == 3
    assert both(pair, "add", "back").said == "back: added process group\n"
    pair.settle()
    assert both(pair, "status").said.count("RUNNING") == 3
    assert both(pair, "add", "back").said == "ERROR: process group already active\n"
    assert both(pair, "reread").said == "back: disappeared\n"
    both(pair, "add", "off")


def follow(side: Side, words: tuple[str, ...], *, inet: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        side.ctl_argv(*words, inet=inet),
        cwd=side.folder,
        env=side.ctl_env() | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def read_until(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    assert process.stdout is not None
    seen = b""
    while wanted not in seen:
        assert select.select([process.stdout], [], [], DEADLINE)[0], (
            f"not within {DEADLINE} s: {wanted!r}: {seen!r}"
        )
        data = os.read(process.stdout.fileno(), 65536)
        assert data, f"it ended: {seen!r}"
        seen += data
    return seen


@pytest.mark.timeout(120)
@pytest.mark.parametrize("inet", [False, True], ids=["unix", "inet"])
def test_a_log_is_followed_until_the_client_leaves(pair: Pair, *, inet: bool) -> None:
    talker = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; echo wrong >&2; exec sleep 1000"
    pair.write([Program.shell("web", talker)])
    pair.up()
    pair.settle()
    for side in pair.sides:
        until(
            lambda side=side: side.call("supervisor.readProcessLog", "web", 0, 0) == "one\n", "it has begun"
        )
    tails = [follow(side, ("tail", "-f", "web"), inet=inet) for side in pair.sides]
    fgs = [follow(side, ("fg", "web"), inet=inet) for side in pair.sides]
    try:
        for process in (*tails, *fgs):
            read_until(process, b"one\n")
        for side in pair.sides:
            (side.folder / "go").touch()
        for process in tails:
            assert read_until(process, b"two\n") == b"two\n"
        for process in fgs:
            both_streams = read_until(process, b"wrong\n")
            if b"two\n" not in both_streams:
                read_until(process, b"two\n")
        for process in tails:
            until(
                lambda process=process: state_of(process.pid) == "S", "it waits: else it tells of the signal"
            )
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=DEADLINE)[0] == b"\n"
            assert process.returncode == 0
        for process in fgs:
            process.send_signal(signal.SIGINT)  # its own thread outlives that, until the log grows
            assert read_until(process, b"foreground\n") == b"Exiting foreground\n"
    finally:
        for process in (*tails, *fgs):
            if process.poll() is None:
                process.kill()
            process.communicate()
    theirs, ours = (side.ctl("tail", "-f", "nobody", inet=inet) for side in pair.sides)
    assert ours == theirs


@pytest.mark.timeout(120)
def test_what_is_down_is_told_by_supervisorctls_own_statuses(pair: Pair) -> None:
    pair.write([Program.sleeping("web")])
    for side in pair.sides:
        assert side.ctl("status") == Ran(4, "unix://FOLDER/s.sock no such file\n")
    pair.up()
    pair.settle()
    main = both(pair, "reload")
    assert main == Ran(0, "Restarted supervisord\n")
    for side in pair.sides:
        until(lambda side=side: isinstance(_state(side), dict), "it is back")
    pair.settle()
    assert both(pair, "shutdown") == Ran(0, "Shut down\n")
    pair.supervisord.wait_over()
    pair.orchestra.wait_over()
    assert both(pair, "status").status == 4
    assert both(pair, "stop", "web").status == 7
    assert not Path(pair.orchestra.folder / "s.sock").exists()


def _state(side: Side) -> object:
    try:
        return side.call("supervisor.getState")
    except OSError:
        return None
