"""`orchestra up -c supervisord.conf`: programs, groups, logs and starts as the file has them."""

import json
import socket
import sys
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, alive, until

FILE = """\
; runs as it is
[supervisord]
logfile=%(here)s/supervisord.log
nodaemon=true
environment=SHARED="from, the head"

[unix_http_server]
file=%(here)s/sv.sock

[program:web]
command=/bin/sh -c 'echo "out $0 $WHO $SHARED %%"; echo err >&2; exec sleep 1000' %(process_num)d
process_name=%(program_name)s_%(process_num)02d
numprocs=2
environment=WHO="%(program_name)s-%(process_num)d"
stdout_logfile=%(here)s/%(program_name)s-%(process_num)d.out
stderr_logfile=%(here)s/%(program_name)s-%(process_num)d.err
startsecs=1

[program:quick]
command=/bin/sh -c 'echo run >> %(here)s/quick.runs; exit 0'
startsecs=5
startretries=1
autorestart=false

[program:later]
command=/bin/sleep 1000
autostart=false

[program:loop]
command=/bin/sh -c 'echo x >> %(here)s/loop.runs; exec sleep 1000'
startsecs=0
stopsignal=INT

[include]
files=%(here)s/conf.d/*.conf
"""
INCLUDED = """\
[group:pair]
programs=one,two
[program:one]
command=/bin/sleep 1000
[program:two]
command=/bin/sleep 1000
directory=%(here)s
"""


@pytest.fixture
def taken_over(fleet: Fleet) -> Fleet:
    (fleet.path / "supervisord.conf").write_text(FILE, encoding="utf-8")
    (fleet.path / "conf.d").mkdir()
    (fleet.path / "conf.d" / "pair.conf").write_text(INCLUDED, encoding="utf-8")
    return fleet


def test_a_file_of_supervisord_runs_as_it_is(taken_over: Fleet) -> None:
    fleet = taken_over
    done = fleet.run("up", "--detach", "-c", "supervisord.conf")
    assert done.returncode == 1, done.stderr  # as `quick` is given up
    assert "quick is failed" in done.stderr
    states = {name: row["state"] for name, row in fleet.status().items()}
    assert states == {
        "web.web_00": "ready",
        "web.web_01": "ready",
        "quick": "failed",
        "later": "stopped",
        "loop": "ready",
        "pair.one": "ready",
        "pair.two": "ready",
    }
    # Of the logs: ours has both streams, the files of the user one each.
    assert (fleet.path / "web-1.out").read_bytes() == b"out 1 web-1 from, the head %\n"
    assert (fleet.path / "web-0.err").read_bytes() == b"err\n"
    assert sorted(fleet.log("web.web_00").splitlines()) == [b"err", b"out 0 web-0 from, the head %"]
    # Of the program that ended at once, with success even: a start that failed, tried again, given up.
    assert (fleet.path / "quick.runs").read_text(encoding="utf-8") == "run\nrun\n"
    quick = fleet.service("quick")
    assert quick["failed_starts"] == 2
    assert quick["reason"] == "exit code 0, before it had lasted 5 s; given up after 2 starts"
    # Of the group in an included file: its own folder, and a tag.
    assert Path(f"/proc/{fleet.pid('pair.two')}/cwd").readlink() == fleet.path / "conf.d"
    assert fleet.service("pair.one")["tags"] == ["pair"]
    environ = Path(f"/proc/{fleet.pid('pair.one')}/environ").read_bytes().split(b"\0")
    assert {
        b"SUPERVISOR_ENABLED=1",
        b"SUPERVISOR_GROUP_NAME=pair",
        b"SUPERVISOR_PROCESS_NAME=one",
        f"SUPERVISOR_SERVER_URL=unix://{fleet.path}/sv.sock".encode(),
    } <= set(environ)


def test_a_run_is_starting_until_it_has_lasted_startsecs(taken_over: Fleet) -> None:
    fleet = taken_over
    text = "[supervisord]\nnodaemon=true\n[program:slow]\ncommand=/bin/sleep 1000\nstartsecs=3\n"
    (fleet.path / "supervisord.conf").write_text(text, encoding="utf-8")
    fleet.up("-c", "supervisord.conf")
    starting = fleet.until_event("service.starting", "slow")
    ready = fleet.until_event("service.ready", "slow")
    assert 2.9 <= ready["at"] - starting["at"] <= 6


def test_a_crash_is_followed_at_once_and_without_end(taken_over: Fleet) -> None:
    fleet = taken_over
    fleet.run("up", "--detach", "-c", "supervisord.conf")
    runs = fleet.path / "loop.runs"
    for count in range(2, 15):  # more than our own limit on restarts
        pid = fleet.pid("loop")
        fleet.kill(pid)
        until(lambda count=count: runs.read_text(encoding="utf-8").count("x") == count, f"run {count}")
        until(lambda pid=pid: fleet.service("loop")["pid"] not in (None, pid), "the next process is known")
    assert fleet.service("loop")["state"] == "ready"


def test_a_changed_file_is_applied_by_a_reload(taken_over: Fleet) -> None:
    fleet = taken_over
    fleet.run("up", "--detach", "-c", "supervisord.conf")
    before = fleet.pid("pair.one"), fleet.pid("pair.two")
    changed = INCLUDED.replace("command=/bin/sleep 1000\ndirectory", "command=/bin/sleep 2000\ndirectory")
    (fleet.path / "conf.d" / "pair.conf").write_text(changed, encoding="utf-8")
    plan = fleet.run("plan", "--json")
    assert plan.returncode == 10, plan.stderr
    (change,) = [one for one in json.loads(plan.stdout)["services"] if one["action"] != "keep"]
    assert (change["name"], change["action"]) == ("pair.two", "restart")
    places = {field["field"]: field["where"] for field in change["fields"]}
    assert places["argv"]["path"].endswith("conf.d/pair.conf")
    assert places["argv"]["line"] == 6
    fleet.ok("reload")
    until(lambda: fleet.service("pair.two")["pid"] not in (None, before[1]), "the new run")
    assert fleet.pid("pair.one") == before[0]
    assert not alive(before[1])


def test_a_wrong_file_starts_nothing_and_names_the_line(taken_over: Fleet) -> None:
    fleet = taken_over
    (fleet.path / "conf.d" / "pair.conf").write_text(
        "[program:x]\ncommand=x\nstartsecs=soon\n", encoding="utf-8"
    )
    done = fleet.run("up", "--detach", "-c", "supervisord.conf")
    assert done.returncode == 3
    assert "conf.d/pair.conf:3:11: error: [program:x] `startsecs`" in done.stderr
    assert "nothing was started" in done.stderr


FCGI = """\
[supervisord]
nodaemon=true
[fcgi-program:app]
socket=unix://%(here)s/app.sock
socket_mode=0600
command={python} -c "import socket; s = socket.socket(fileno=0); s.accept()[0].send(b'served'); s.accept()"
"""


def test_processes_of_an_fcgi_program_have_one_socket_that_outlives_them(fleet: Fleet) -> None:
    text = FCGI.format(python=sys.executable).replace("%(here)s", str(fleet.path))
    text += "numprocs=3\nprocess_name=app_%(process_num)d\n"
    (fleet.path / "supervisord.conf").write_text(text, encoding="utf-8")
    fleet.up("-c", "supervisord.conf")
    names = [f"app.app_{number}" for number in range(3)]
    inodes = {str(Path(f"/proc/{fleet.pid(name)}/fd/0").readlink()) for name in names}
    assert len(inodes) == 1
    assert inodes.pop().startswith("socket:")
    fleet.ok("stop", names[0], names[1])
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(fleet.path / "app.sock"))
        assert client.recv(100) == b"served"
    fleet.ok("down")
    assert not (fleet.path / "app.sock").exists()


def test_an_fcgi_program_gets_its_socket_as_standard_input(fleet: Fleet) -> None:
    text = FCGI.format(python=sys.executable).replace("%(here)s", str(fleet.path))
    (fleet.path / "supervisord.conf").write_text(text, encoding="utf-8")
    fleet.up("-c", "supervisord.conf")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(fleet.path / "app.sock"))
        assert client.recv(100) == b"served"
