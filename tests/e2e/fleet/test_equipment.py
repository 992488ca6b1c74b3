"""What a run is equipped with, on the whole: sockets, its own word, commands around it, limits."""

import json
import shutil
import socket
import threading
from contextlib import ExitStack

import pytest

from tests.e2e.fleet_driver import Fleet, alive, python, until
from tests.process.cgroup_driver import made_group, root_of

pytestmark = pytest.mark.slow

# Serves a request a connection on the socket that it was handed; at SIGTERM it leaves what waits to the next.
WEB = """
import os, selectors, signal, socket
door = socket.socket(fileno=3)
door.setblocking(False)
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
leaving = []
signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
here = selectors.DefaultSelector()
here.register(door, selectors.EVENT_READ)
here.register(read, selectors.EVENT_READ)
os.write(1, b"serving\\n")
while not leaving:
    for key, _ in here.select():
        if key.fileobj is door:
            try:
                one, _ = door.accept()
            except BlockingIOError:
                continue
            one.setblocking(True)
            one.recv(1000)
            one.sendall(b"%d" % os.getpid())
            one.close()
"""
SAY = """
import os, socket, time
def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
        here.sendto(text.encode(), "\\0" + os.environ["NOTIFY_SOCKET"][1:])
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ask(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(b"x")
        return one.makefile("r", encoding="ascii").read()


def test_a_restart_of_a_service_that_takes_its_socket_refuses_no_connection(fleet: Fleet) -> None:
    port = free_port()
    fleet.write({"web": {"command": python(WEB), "sockets": {"http": port}}})
    fleet.up()
    answers: list[str] = []
    over = threading.Event()

    def clients() -> None:
        while not over.is_set():
            answers.append(ask(port))

    with ExitStack() as stack:
        workers = [threading.Thread(target=clients) for _ in range(4)]
        for worker in workers:
            worker.start()
            stack.callback(worker.join)
        stack.callback(over.set)
        for _ in range(5):
            seen = len(answers)
            until(lambda seen=seen: len(answers) > seen + 20, "it serves")
            fleet.ok("restart", "web")
    assert all(answers), "a connection was accepted and not answered"
    assert len(set(answers)) == 6  # each of the six runs has served


def test_a_service_is_started_by_its_first_connection_and_again_by_the_next_after_it_has_ended(
    fleet: Fleet,
) -> None:
    port = free_port()
    serve = "c, _ = s.accept(); c.recv(9); c.sendall(b'%d' % os.getpid())"
    once = f"import os, socket; s = socket.socket(fileno=3); {serve}"
    fleet.write(
        {
            "lazy": {"command": python(once), "sockets": {"http": port}, "start_on": "connection"},
            "above": {"command": python("import signal; signal.pause()"), "depends_on": ["lazy"]},
        }
    )
    fleet.up()
    assert (fleet.service("lazy")["state"], fleet.service("lazy")["pid"]) == ("waiting", None)
    assert fleet.service("above")["state"] == "ready"
    first = ask(port)
    fleet.until_state("lazy", "waiting")
    fleet.kill_daemon()
    second = ask(port)
    assert first != second
    assert first.isdecimal()
    assert second.isdecimal()
    fleet.ok("stop", "lazy")
    with pytest.raises(ConnectionRefusedError):
        ask(port)


def test_an_address_that_is_taken_fails_the_service_and_names_it(fleet: Fleet) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        fleet.write({"lazy": {"command": ["true"], "sockets": {"http": port}, "start_on": "connection"}})
        fleet.run("up", "--detach")
        assert f"socket http on 127.0.0.1:{port}: Address already in use" in fleet.service("lazy")["reason"]


def test_a_service_that_stops_saying_that_it_is_alive_is_restarted(fleet: Fleet) -> None:
    beats = "for _ in range(8): time.sleep(0.1); say('WATCHDOG=1')"
    beat = f"{SAY}\nsay('READY=1\\nSTATUS=beating')\n{beats}\ntime.sleep(1000)"
    fleet.write({"dog": {"command": python(beat), "watchdog": "500ms"}})
    fleet.up()
    first = fleet.service("dog")
    assert (first["state"], first["status_text"]) == ("ready", "beating")
    until(lambda: fleet.service("dog")["restarts"] == 1, "it is restarted")
    assert not alive(first["pid"])
    events = [row["message"] for row in fleet.events("service.stopping", "dog")]
    assert events == ["watchdog: it has not said for 0.5 s that it is alive"]


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="no systemd-notify here")
def test_a_shell_script_says_that_it_is_ready_by_the_systems_own_tool(fleet: Fleet) -> None:
    script = "systemd-notify --status=loading; systemd-notify --ready --status=serving; exec sleep 1000"
    fleet.write({"script": {"command": script, "notify": True}})
    fleet.up()
    told = fleet.service("script")
    assert (told["state"], told["status_text"]) == ("ready", "serving")


def test_commands_around_a_run_are_carried_out_in_order_and_their_output_is_in_the_log(fleet: Fleet) -> None:
    fleet.write(
        {
            "db": {
                "command": "echo run; exec sleep 1000",
                "pre_start": ["echo before", ["sh", "-c", "echo before too"]],
                "post_stop": ["echo after $ORCHESTRA_EXIT_SIGNAL"],
                "stop": {"command": "echo stop; kill -INT $MAINPID"},
            }
        }
    )
    fleet.up()
    fleet.until_log("db", "run")
    fleet.ok("stop", "db")
    assert fleet.until_log("db", "after").split(b"\n") == [
        b"before",
        b"before too",
        b"run",
        b"stop",
        b"after SIGINT",
        b"",
    ]


def test_a_first_command_that_fails_fails_the_start_with_its_reason(fleet: Fleet) -> None:
    fleet.write(
        {"db": {"command": ["sleep", "1000"], "pre_start": ["exit 3"], "restart": "never"}},
    )
    fleet.run("up", "--detach")
    told = fleet.service("db")
    assert told["state"] == "failed"
    assert told["reason"] == "could not start: pre_start 1 (/bin/sh): exit code 3 (pre_start)"


def test_a_command_that_fails_at_the_end_is_told(fleet: Fleet) -> None:
    fleet.write({"db": {"command": ["sleep", "1000"], "post_stop": ["exit 4"]}})
    fleet.up()
    fleet.ok("stop", "db")
    event = fleet.until_event("service.command_failed", "db")
    assert event["message"] == "post_stop command: exit code 4"


@pytest.mark.skipif(root_of("memory") is None, reason="no memory controller that may be used here")
def test_a_memory_hog_is_ended_at_its_limit_and_its_neighbour_is_not(fleet: Fleet) -> None:
    hog = "import time\nhold = []\nwhile True: hold.append(bytearray(1 << 20)); time.sleep(0.002)"
    with made_group("memory") as base:
        fleet.write(
            {
                "hog": {"command": python(hog), "limits": {"memory": "48MB"}, "restart": "never"},
                "calm": {"command": ["sleep", "1000"]},
            }
        )
        fleet.up(ORCHESTRA_CGROUP=str(base))
        calm = fleet.pid("calm")
        assert json.dumps(fleet.daemon()["cgroups"]["limits"]) == '["memory"]'
        told = fleet.until_state("hog", "failed")
        assert told["exit"]["text"] == "killed by SIGKILL: out of memory"
        assert fleet.pid("calm") == calm
        fleet.ok("down")


def test_a_memory_hog_is_ended_at_its_limit_where_there_are_no_control_groups(fleet: Fleet) -> None:
    hog = "import time\nhold = bytearray(b'x' * (80 << 20))\ntime.sleep(1000)"
    fleet.write(
        {
            "hog": {"command": python(hog), "limits": {"memory": "48MB"}, "restart": "never"},
            "calm": {"command": ["sleep", "1000"], "limits": {"memory": "48MB"}},
        }
    )
    fleet.run("up", "--detach", ORCHESTRA_CGROUP="none")
    told = fleet.until_state("hog", "failed")
    assert told["limits"] == {"memory": {"value": 48 << 20, "held": "watched"}}
    assert "over its limit of 48 MB" in told["reason"]
    assert fleet.service("calm")["state"] == "ready"
