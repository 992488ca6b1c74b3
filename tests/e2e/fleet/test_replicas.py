"""Replicas as real servers: restarted one by one under a client, scaled, updated, under daemons that die."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from orchestra_supervisor.control_client import ControlError
from tests.e2e.fleet_driver import Fleet, python, until

SERVER = """
import os, signal, socket, sys
port, word = int(sys.argv[1]), sys.argv[2]
if word == "broken":
    sys.exit(3)
listener = socket.create_server(("127.0.0.1", port), backlog=64)
while True:
    connection, _ = listener.accept()
    connection.settimeout(2)
    try:
        connection.recv(4096)
        body = f"{word} {os.environ['ORCHESTRA_REPLICA']} of {os.environ['ORCHESTRA_REPLICAS']}".encode()
        head = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
        connection.sendall(head + body)
    except OSError:
        pass
    connection.close()
"""


def free_base(count: int) -> int:
    """Return a port after which so many are free; processes that ask at one time get different ones."""
    for base in range(21_000 + os.getpid() % 700 * 10, 29_000, 10):
        with suppress(OSError):
            for port in range(base + 1, base + 1 + count):
                with socket.create_server(("127.0.0.1", port)):
                    pass
            return base
    raise AssertionError("no ports are free")


def write(fleet: Fleet, base: int, word: str = "old", *, replicas: int = 3, update: str = "all") -> None:
    sum_ = f"{{{base}+replica}}"
    readiness = {"http": f"http://127.0.0.1:{sum_}/", "period": "100ms"}
    server = {
        "command": python(SERVER, "{port}", "{word}"),
        "port": "{port}",
        "probes": {"readiness": readiness},
        "stop": {"grace": "2s"},
        "restart": "never",
    }
    web = {
        "template": "server",
        "values": {"port": sum_, "word": word},
        "replicas": replicas,
        "update": update,
    }
    text = json.dumps({"templates": {"server": server}, "services": {"web": web}}, indent=1)
    (fleet.path / "orchestra.json").write_text(text, encoding="utf-8")


def answer(port: int) -> str:
    """Return what a server says; empty where nobody answers."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while piece := connection.recv(4096):
            data += piece
        return data.rpartition(b"\r\n\r\n")[2].decode()
    return ""


@contextmanager
def watching(ports: list[int]) -> Iterator[Callable[[], list[int]]]:
    """Ask all ports over and over; the result is how many answered, each time."""
    counts: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.005):  # as often as leaves the servers some time
            counts.append(sum(bool(answer(port)) for port in ports))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield lambda: counts
    finally:
        stop.set()
        thread.join()


def pids(fleet: Fleet) -> dict[str, int | None]:
    return {name: row["pid"] for name, row in fleet.status().items()}


@pytest.mark.slow
def test_a_client_of_three_replicas_sees_two_at_every_moment_of_a_rolling_restart(fleet: Fleet) -> None:
    base = free_base(3)
    ports = [base + 1, base + 2, base + 3]
    write(fleet, base)
    fleet.up()
    assert [answer(port) for port in ports] == [f"old {number} of 3" for number in (1, 2, 3)]
    before = pids(fleet)
    with watching(ports) as counts:
        until(lambda: len(counts()) > 3, "the client asks")
        fleet.ok("restart", "web", "--rolling")
        seen = list(counts())
    assert min(seen) == 2, "one at a time"
    after = pids(fleet)
    assert not set(before.values()) & set(after.values())
    kinds = [event["kind"] for event in fleet.events("roll")]
    assert kinds == ["roll.started", "roll.done"]


@pytest.mark.slow
def test_a_roll_outlives_the_daemon(fleet: Fleet) -> None:
    base = free_base(3)
    ports = [base + 1, base + 2, base + 3]
    write(fleet, base)
    fleet.up()
    before = pids(fleet)
    with watching(ports) as counts:
        until(lambda: len(counts()) > 3, "the client asks")
        fleet.client.restart(["web"], batch=1, wait="none")
        for _ in range(2):
            fleet.kill_daemon()
            assert fleet.daemon()["rolls"], "it was killed in the middle"
        until(lambda: not set(before.values()) & set(pids(fleet).values()), "each has another run")
        until(lambda: not fleet.daemon()["rolls"], "the roll is over")
        seen = list(counts())
    assert min(seen) >= 2
    restarts = [row["restarts"] for row in fleet.status().values()]
    assert restarts == [1, 1, 1], "nobody had two turns"


@pytest.mark.slow
def test_an_update_that_does_not_hold_goes_back_and_one_that_holds_outlives_the_daemon(fleet: Fleet) -> None:
    base = free_base(3)
    ports = [base + 1, base + 2, base + 3]
    write(fleet, base, update="rolling")
    fleet.up()
    before = pids(fleet)
    write(fleet, base, "broken", update="rolling")
    done = fleet.run("reload")
    assert done.returncode == 1
    assert "rolling web stopped: rolling update stopped at web@1: exit code 3" in done.stdout
    assert "web@1 goes back to what it ran before; left as they are: web@2, web@3" in done.stdout
    fleet.until_state("web@1", "ready")
    assert [answer(port) for port in ports] == [f"old {number} of 3" for number in (1, 2, 3)]
    after = pids(fleet)
    assert [before[name] == after[name] for name in before] == [False, True, True]
    fleet.kill_daemon()
    assert pids(fleet) == after, "the next daemon wants the same"
    # One that holds, and a daemon that dies on the way.
    write(fleet, base, "new", update="rolling")
    asked = threading.Thread(target=lambda: fleet.run("reload"))
    asked.start()
    until(lambda: fleet.daemon()["rolls"], "the roll has begun")
    fleet.kill_daemon()
    asked.join()
    until(lambda: not fleet.daemon()["rolls"], "the roll is over")
    assert [answer(port) for port in ports] == [f"new {number} of 3" for number in (1, 2, 3)]
    assert [row["restarts"] for row in fleet.status().values()] == [2, 1, 1]


@pytest.mark.slow
def test_a_number_that_was_scaled_to_holds_through_daemons_and_reloads(fleet: Fleet) -> None:
    base = free_base(5)
    write(fleet, base, replicas=2)
    fleet.up()
    first = pids(fleet)
    said = fleet.ok("scale", "web=4", "--reason", "more is asked")
    assert [line.split()[1] for line in said.splitlines()] == ["web@3", "web@4"]
    assert answer(base + 4) == "old 4 of 4"
    fleet.kill_daemon()
    four = pids(fleet)
    assert list(four) == ["web@1", "web@2", "web@3", "web@4"]
    assert {name: four[name] for name in first} == first, "the others are left alone"
    assert fleet.client.reload()["unchanged"] == 4
    assert pids(fleet) == four
    (audit,) = fleet.events("control.scale")
    assert "scale web=4" in audit["message"]
    write(fleet, base, "other", replicas=2)
    refused = fleet.run("scale", "web=1")
    assert refused.returncode == 8
    assert "hint: orchestra reload, then scale" in refused.stderr
    write(fleet, base, replicas=2)
    fleet.ok("scale", "web=1")
    assert pids(fleet) == {"web@1": first["web@1"]}
    fleet.client.scale({"web": 0})
    assert fleet.status() == {}
    with pytest.raises(ControlError, match="web has no replicas"):
        fleet.client.start(["web"])
    with pytest.raises(ControlError, match="0 to 1000"):
        fleet.client.scale({"web": 1001})
    write(fleet, base, replicas=3)
    fleet.client.reload()
    assert list(pids(fleet)) == ["web@1", "web@2", "web@3"], "the file says another number"
