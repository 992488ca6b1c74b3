"""Listening sockets that the keeper holds from run to run."""

import errno
import socket
import sys
from pathlib import Path

import pytest

from tests.process.keeper_driver import Keeper, spawn_message, wait_until

# Answers one connection with its pid, what it was told of its sockets, and which descriptors it has.
SERVER = """
import os, socket
names = os.environ["LISTEN_FDNAMES"].split(":")
told = (os.environ["LISTEN_FDS"], names, os.environ["LISTEN_PID"] == str(os.getpid()))
fds = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]
while True:
    with socket.socket(fileno=os.dup(3)) as door:
        here, _ = door.accept()
        here.sendall(repr((os.getpid(), *told, fds)).encode())
        here.close()
"""


# Stands for a service manager: hands a descriptor down as the third and becomes the program.
_HAND_DOWN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "LISTEN_PID": str(os.getpid())}
os.execvp(sys.argv[2], sys.argv[2:])
"""


def server() -> list[str]:
    return [sys.executable, "-I", "-S", "-c", SERVER]


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def tcp(port: int, name: str = "http") -> dict[str, object]:
    return {"name": name, "kind": "tcp", "host": "127.0.0.1", "port": port}


def ask(address: object, family: int = socket.AF_INET) -> str:
    with socket.socket(family) as here:
        here.settimeout(10)
        here.connect(address)
        return here.makefile("r", encoding="utf-8").read()


def refused(port: int) -> bool:
    with socket.socket() as here:
        return here.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_a_run_gets_its_sockets_from_3_on_with_their_names_and_nothing_else(daemon, port, tmp_path):
    sockets = [tcp(port), {"name": "ctl", "kind": "unix", "path": f"{tmp_path}/s"}]
    pid = daemon.request(spawn_message("web-1", *server(), sockets=sockets))["pid"]
    assert ask(("127.0.0.1", port)) == repr((pid, "2", ["http", "ctl"], True, [0, 1, 2, 3, 4]))


def test_a_connection_that_comes_between_two_runs_is_served_by_the_second(daemon, port):
    sockets = [tcp(port)]
    first = daemon.request(spawn_message("web-1", *server(), sockets=sockets))["pid"]
    assert f"({first}," in ask(("127.0.0.1", port))
    daemon.request({"type": "stop", "run": "web-1"})
    daemon.event("gone", run="web-1")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as waiting:
        second = daemon.request(spawn_message("web-2", *server(), slot="web", sockets=sockets))["pid"]
        assert f"({second}," in waiting.makefile("r", encoding="utf-8").read()


def test_a_socket_that_no_order_names_any_more_is_closed(daemon, port, tmp_path):
    sockets = [tcp(port), {"name": "ctl", "kind": "unix", "path": f"{tmp_path}/s"}]
    daemon.request(spawn_message("web-1", "true", sockets=sockets))
    daemon.event("gone", run="web-1")
    assert not refused(port)
    daemon.request(spawn_message("web-2", "true", slot="web", sockets=sockets[1:]))
    daemon.event("gone", run="web-2")
    assert refused(port)
    assert (tmp_path / "s").exists()
    daemon.send({"type": "unlisten", "slot": "web"})
    daemon.sync()
    assert not (tmp_path / "s").exists()


def test_a_port_that_is_taken_fails_the_spawn_at_its_stage(daemon):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        failed = daemon.request(spawn_message("web-1", *server(), sockets=[tcp(port)]))
        assert (failed["type"], failed["stage"], failed["errno"]) == (
            "spawn_failed",
            "socket",
            errno.EADDRINUSE,
        )
        assert failed["message"] == f"socket http on 127.0.0.1:{port}: Address already in use"


def test_a_path_with_a_dead_socket_is_taken_over_and_anything_else_is_left_alone(daemon, tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    ctl = {"name": "ctl", "kind": "unix", "path": str(path), "mode": 0o660}
    assert daemon.request(spawn_message("a-1", *server(), sockets=[ctl]))["type"] == "spawned"
    assert path.stat().st_mode & 0o777 == 0o660
    assert daemon.request(spawn_message("b-1", *server(), sockets=[ctl]))["errno"] == errno.EADDRINUSE
    assert "'1'" in ask(str(path), socket.AF_UNIX)
    other = tmp_path / "file"
    other.write_text("precious", encoding="utf-8")
    failed = daemon.request(spawn_message("c-1", *server(), sockets=[{**ctl, "path": str(other)}]))
    assert failed["errno"] == errno.EEXIST
    assert other.read_text(encoding="utf-8") == "precious"


def test_a_path_that_is_too_long_is_told(daemon, tmp_path):
    ctl = {"name": "ctl", "kind": "unix", "path": f"{tmp_path}/{'x' * 120}"}
    failed = daemon.request(spawn_message("a-1", *server(), sockets=[ctl]))
    assert failed["stage"] == "socket"
    assert "too long" in failed["message"]


def test_the_first_connection_is_told_once_and_waits_for_whoever_is_started(keeper, daemon, port):
    assert (
        daemon.request({"type": "listen", "slot": "web", "sockets": [tcp(port)], "watch": True})["type"]
        == "ok"
    )
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as one,
        socket.create_connection(("127.0.0.1", port), timeout=10),
    ):
        assert daemon.event("connection", slot="web")["name"] == "http"
        daemon.sync()
        assert not [m for m, _ in daemon.inbox if m["type"] == "connection"]
        daemon.kill()  # before it could do anything about it
        successor = keeper.daemon()
        _, snapshot = successor.hello()
        told = next(m for m in snapshot if m["type"] == "sockets")
        assert (told["slot"], told["names"], told["called"]) == ("web", ["http"], "http")
        pid = successor.request(spawn_message("web-1", *server(), sockets=[tcp(port)]))["pid"]
        assert f"({pid}," in one.makefile("r", encoding="utf-8").read()


def test_a_wait_that_nobody_ended_goes_on_under_the_next_daemon(keeper, daemon, port):
    daemon.request({"type": "listen", "slot": "web", "sockets": [tcp(port)], "watch": True})
    daemon.kill()
    successor = keeper.daemon()
    _, snapshot = successor.hello()
    told = next(m for m in snapshot if m["type"] == "sockets")
    assert (told["watched"], told["called"]) == (True, "")
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        successor.event("connection", slot="web")


def test_a_datagram_socket_is_handed_on_too(daemon, port):
    script = "import os, socket; s = socket.socket(fileno=3); d, a = s.recvfrom(100); s.sendto(d + b'!', a)"
    udp = {"name": "dns", "kind": "udp", "host": "127.0.0.1", "port": port}
    daemon.request(spawn_message("dns-1", sys.executable, "-I", "-S", "-c", script, sockets=[udp]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.settimeout(10)
        here.sendto(b"hello", ("127.0.0.1", port))
        assert here.recv(100) == b"hello!"


def test_first_commands_do_not_get_the_sockets_and_last_ones_neither(daemon, port, tmp_path):
    look = {"argv": ["sh", "-c", f"ls /proc/self/fd | tr '\\n' ' ' >> {tmp_path}/told"], "timeout": 10}
    order = spawn_message("web-1", "true", sockets=[tcp(port)], before=[look], after=[look])
    daemon.request(order)
    daemon.event("gone", run="web-1")
    assert (tmp_path / "told").read_text(encoding="utf-8") == "0 1 2 3 0 1 2 3 "  # 3: the directory itself


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"name": "a:b", "kind": "tcp", "host": "127.0.0.1", "port": 1}, "without a colon"),
        ({"name": "a", "kind": "sctp", "host": "127.0.0.1", "port": 1}, "not one of tcp, udp, unix"),
        ({"name": "a", "kind": "tcp", "host": "localhost", "port": 1}, "no IP address"),
        ({"name": "a", "kind": "tcp", "host": "127.0.0.1"}, "the port is missing"),
        ({"name": "a", "kind": "tcp", "host": "127.0.0.1", "port": 65536}, "from 1 to 65535"),
        ("a", "name is"),
    ],
)
def test_a_socket_that_makes_no_sense_is_refused(daemon, wrong, text):
    answer = daemon.request({"type": "listen", "slot": "web", "sockets": [wrong]})
    assert answer["code"] == "bad_message"
    assert text in answer["message"]


def test_a_hundred_descriptors_in_the_keeper_do_not_shift_what_a_run_gets(tmp_path, port):
    # Runs before it have taken the low numbers: its own must be moved out of the way and back.
    with Keeper(tmp_path) as keeper:
        daemon = keeper.greeted_daemon()
        for number in range(20):
            daemon.request(spawn_message(f"s{number}-1", "sleep", "100"))
        sockets = [tcp(port)] + [
            {"name": f"u{n}", "kind": "unix", "path": f"{tmp_path}/u{n}"} for n in range(11)
        ]
        pid = daemon.request(spawn_message("web-1", *server(), sockets=sockets))["pid"]
        told = ask(("127.0.0.1", port))
        assert f"({pid}, '12'," in told
        assert told.endswith(f"True, {list(range(15))})")
        links = [str(Path(f"/proc/{pid}/fd/{fd}").readlink()).partition(":")[0] for fd in range(3, 15)]
        assert links == ["socket"] * 12


def test_everything_is_closed_when_the_fleet_is_down(tmp_path, port):
    path = tmp_path / "s"
    with Keeper(tmp_path) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        sockets = [tcp(port), {"name": "ctl", "kind": "unix", "path": str(path)}]
        daemon.request({"type": "listen", "slot": "web", "sockets": sockets, "watch": True})
        assert path.exists()
        daemon.send({"type": "quit"})
        logger.event("quit")
        logger.kill()
        daemon.kill()
        assert keeper.wait() == 0
    assert refused(port)
    assert not path.exists()


def test_a_path_that_somebody_else_has_bound_since_is_left_to_them(daemon, tmp_path):
    path = tmp_path / "s"
    daemon.request(
        {"type": "listen", "slot": "web", "sockets": [{"name": "c", "kind": "unix", "path": str(path)}]}
    )
    Path(path).unlink()
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        theirs.listen()
        daemon.send({"type": "unlisten", "slot": "web"})
        daemon.sync()
        wait_until(path.exists, "it is still there")


def test_a_socket_of_the_service_manager_goes_to_the_run_that_names_it_and_stays_open(tmp_path):
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        port = theirs.getsockname()[1]
        prefix = [sys.executable, "-c", _HAND_DOWN, str(theirs.fileno())]
        with Keeper(tmp_path, prefix=prefix, pass_fds=[theirs.fileno()]) as keeper:
            daemon = keeper.greeted_daemon()
            http = {"name": "http", "kind": "inherited", "fd_name": "web"}
            for number in (1, 2):
                order = spawn_message(f"web-{number}", *server(), slot="web", sockets=[http])
                pid = daemon.request(order)["pid"]
                assert f"({pid}, '1', ['http'], True" in ask(("127.0.0.1", port))
                daemon.request({"type": "stop", "run": f"web-{number}"})
                daemon.event("gone", run=f"web-{number}")
            other = {**http, "fd_name": "api"}
            failed = daemon.request(spawn_message("api-1", *server(), sockets=[other]))
            assert failed["message"] == "socket http: the service manager passed no 'api' (passed: web)"


def shared(path: Path) -> dict[str, object]:
    return {"name": "app", "kind": "unix", "path": str(path), "shared": True}


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as here:
        return here.connect_ex(str(path)) == 0


# How a slot lets go of a socket: it is given up, or an order names others, or none.
LETTING_GO = {
    "unlisten": lambda slot, _: {"type": "unlisten", "slot": slot},
    "an order without it": lambda slot, _: {"type": "listen", "slot": slot, "sockets": []},
    "an order with another": lambda slot, other: {"type": "listen", "slot": slot, "sockets": [other]},
}


@pytest.mark.parametrize("how", LETTING_GO)
def test_a_shared_path_stays_until_the_last_slot_lets_go_of_it(daemon, tmp_path, how):
    path = tmp_path / "app"
    for slot in ("a", "b", "c"):
        answer = daemon.request({"type": "listen", "slot": slot, "sockets": [shared(path)]})
        assert answer["type"] == "ok"
    for slot in ("a", "c"):
        daemon.send(LETTING_GO[how](slot, {"name": "x", "kind": "unix", "path": f"{tmp_path}/{slot}"}))
        daemon.sync()
        assert connects(path)
    daemon.request({"type": "listen", "slot": "a", "sockets": [shared(path)]})  # it comes back to the same
    daemon.send(LETTING_GO[how]("b", {"name": "x", "kind": "unix", "path": f"{tmp_path}/b"}))
    daemon.sync()
    assert connects(path)
    daemon.send(LETTING_GO[how]("a", {"name": "x", "kind": "unix", "path": f"{tmp_path}/a"}))
    daemon.sync()
    assert not path.exists()


def test_a_path_that_somebody_else_has_bound_before_another_slot_shares_it_is_left_to_them(daemon, tmp_path):
    path = tmp_path / "app"
    daemon.request({"type": "listen", "slot": "a", "sockets": [shared(path)]})
    path.unlink()
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        theirs.listen()
        daemon.request({"type": "listen", "slot": "b", "sockets": [shared(path)]})
        for slot in ("a", "b"):
            daemon.send({"type": "unlisten", "slot": slot})
        daemon.sync()
        assert connects(path)


def test_a_shared_path_is_removed_when_the_fleet_is_down(tmp_path):
    path = tmp_path / "app"
    with Keeper(tmp_path) as keeper:
        daemon, logger = keeper.greeted_daemon(), keeper.logger()
        for slot in ("a", "b"):
            daemon.request({"type": "listen", "slot": slot, "sockets": [shared(path)]})
        daemon.send({"type": "quit"})
        logger.event("quit")
        logger.kill()
        daemon.kill()
        assert keeper.wait() == 0
    assert not path.exists()
