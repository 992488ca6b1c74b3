"""`@gateway` on the whole, by a stand-in: nothing until somebody connects; its sockets, port and channel."""

import json
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from orchestra_supervisor.control_client import rows
from orchestra_supervisor.control_home import socket_path
from tests.e2e.fleet_driver import DEADLINE, Fleet, alive, python, until

pytestmark = pytest.mark.slow

SLEEP = python("import time; time.sleep(600)")
ECHO = python("import sys; [print(line, end='', flush=True) for line in sys.stdin]")

# Says who it is to every connection on every socket; ends when nobody has come for as many seconds as told.
STAND_IN = """
import os, selectors, socket, sys
here, names = selectors.DefaultSelector(), os.environ["LISTEN_FDNAMES"].split(":")
for number, name in enumerate(names):
    door = socket.socket(fileno=3 + number)
    door.setblocking(False)
    here.register(door, selectors.EVENT_READ, name)
print("gateway of", os.environ["ORCHESTRA_HOME"], "on", *names, file=sys.stderr, flush=True)
while ready := here.select(float(sys.argv[1])):
    for key, _ in ready:
        one, _ = key.fileobj.accept()
        one.recv(1000)
        one.sendall(f"{key.data} {os.getpid()}\\n".encode())
        one.close()
"""

# A gateway in small: one line a connection, to the stdio service `echo` and back, started when it is needed.
RELAY = """
import os, select, selectors, socket
from orchestra_supervisor.control_client import ControlClient
from orchestra_supervisor.wire.channel import STDIO_VARIABLE, Channel
channel = Channel(socket.socket(fileno=int(os.environ[STDIO_VARIABLE])))
door = socket.socket(fileno=3)
control = ControlClient(os.path.join(os.environ["ORCHESTRA_HOME"], "control.sock"))
here = selectors.DefaultSelector()
here.register(channel.fileno(), selectors.EVENT_READ)
pipes = []
while True:
    one, _ = door.accept()
    control.start(["echo"], demand=True)
    while not pipes:
        here.select()
        for message, fds in channel.on_readable():
            if message["type"] == "stdio" and message["slot"] == "echo":
                pipes = fds
    os.write(pipes[0], one.makefile("rb").readline())
    select.select([pipes[1]], [], [])  # none of the ends blocks
    one.sendall(b"%d " % os.getpid() + os.read(pipes[1], 1000))
    one.close()
"""


def stand_in(fleet: Fleet, code: str, *words: object) -> dict[str, str]:
    """Return the environment in which a program of a test is run as the gateway."""
    script = fleet.path / "gateway.py"
    script.write_text(code, encoding="utf-8")
    return {"ORCHESTRA_GATEWAY_COMMAND": f"{sys.executable} -P {script} {' '.join(map(str, words))}"}


def ask(address: "str | tuple[str, int]", line: str = "") -> list[str]:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as one:
        one.settimeout(DEADLINE)
        one.connect(address)
        one.sendall(f"{line}\n".encode())
        return one.makefile("r", encoding="utf-8").read().split()


def answered(address: str) -> list[str] | None:
    with suppress(ConnectionRefusedError, FileNotFoundError):
        return ask(address)
    return None


def mcp_socket(fleet: Fleet) -> str:
    return str(socket_path(fleet.home, "mcp"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_it_is_nowhere_until_somebody_connects(fleet: Fleet) -> None:
    port = free_port()
    fleet.write({"web": {"command": SLEEP}}, mcp={"http": port})
    extra = stand_in(fleet, STAND_IN, 0.5)
    assert "1 ready of 1" in fleet.up(**extra)
    assert list(fleet.status()) == ["web"]
    daemon = fleet.daemon()
    assert (daemon["services"], daemon["ready"], daemon["gateway_pid"]) == (1, 1, None)
    assert json.loads((fleet.home / "layout.json").read_text(encoding="utf-8"))["services"] == ["web"]
    mode = stat.S_IMODE(Path(mcp_socket(fleet)).stat().st_mode)
    assert mode == 0o600
    assert "waiting for a connection" in fleet.ok("status", "@gateway")
    assert fleet.run("status", "@*").returncode == 5

    name, pid = ask(mcp_socket(fleet))
    assert name == "mcp"
    assert ask(("127.0.0.1", port)) == ["mcp_http", pid]
    assert fleet.daemon()["gateway_pid"] == int(pid)
    assert f"gateway {pid}" in fleet.ok("status")
    assert list(fleet.status()) == ["web"]
    assert f"gateway of {fleet.home} on mcp mcp_http" in fleet.ok("logs", "@gateway")
    assert rows(fleet.client.status(["@gateway"]), "services")[0]["sockets"] == [
        mcp_socket(fleet),
        f"127.0.0.1:{port}",
    ]
    answer = fleet.client.request("GET", "/v1/mcp")
    assert answer["settings"]["http"] == f"127.0.0.1:{port}"  # type: ignore[index]  # an object, as documented

    until(lambda: fleet.daemon()["gateway_pid"] is None, "it ends by itself")
    assert not alive(int(pid))
    assert "waiting for a connection" in fleet.ok("status", "@gateway")
    other = ask(mcp_socket(fleet))[1]
    assert other != pid
    fleet.ok("stop", "all")
    assert fleet.service("web")["down_reason"] == "operator"
    assert rows(fleet.client.status(["@gateway"]), "services")[0]["desired"] == "up"
    fleet.ok("down")
    until(lambda: not fleet.processes(), "nothing is left")


def test_it_outlives_reloads_and_deaths_of_the_daemon_and_comes_back_when_killed(fleet: Fleet) -> None:
    fleet.write({"web": {"command": SLEEP}})
    fleet.up(**stand_in(fleet, STAND_IN, 600))
    address = mcp_socket(fleet)
    pid = ask(address)[1]
    fleet.ok("reload")
    fleet.kill_daemon()
    assert fleet.daemon()["gateway_pid"] == int(pid)
    assert ask(address)[1] == pid
    fleet.kill(int(pid))
    after = ask(address)[1]  # whoever connects meanwhile waits, and is served
    assert after != pid
    fleet.ok("restart", "@gateway")
    assert ask(address)[1] not in {pid, after}
    fleet.ok("stop", "@gateway")
    with pytest.raises(OSError, match=r"refused|No such file"):
        ask(address)
    fleet.ok("start", "@gateway")
    assert ask(address)[0] == "mcp"


def test_a_fleet_can_do_without(fleet: Fleet) -> None:
    fleet.write({"web": {"command": SLEEP}}, mcp=False)
    fleet.up()
    assert not (fleet.home / "mcp.sock").exists()
    assert fleet.run("status", "@gateway").returncode == 5
    fleet.write({"web": {"command": SLEEP}})
    assert json.loads(fleet.ok("reload", "--json"))["added"] == ["@gateway"]
    assert Path(mcp_socket(fleet)).exists()
    fleet.write({"web": {"command": SLEEP}}, mcp=False)
    fleet.ok("reload")
    until(lambda: not (fleet.home / "mcp.sock").exists(), "its socket is gone")


def test_a_port_that_is_somebody_elses_keeps_no_fleet_from_starting(fleet: Fleet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        fleet.write({"web": {"command": SLEEP}}, mcp={"http": port})
        checked = json.loads(fleet.run("check", "--json").stdout)
        found = next(one for one in checked["findings"] if one["code"] == "mcp.http_busy")
        assert (found["severity"], found["where"][0]["line"]) == ("warning", 4)
        assert "1 ready of 1" in fleet.up(**stand_in(fleet, STAND_IN, 600))
        event = fleet.until_event("gateway.http_refused")
        assert f"127.0.0.1:{port}: Address already in use" in event["message"]
        assert until(lambda: answered(mcp_socket(fleet)), "it is served on its Unix socket")[0] == "mcp"
        assert fleet.client.request("GET", "/v1/mcp")["settings"]["http"] is None  # type: ignore[index]
        pid = fleet.daemon()["gateway_pid"]
        fleet.ok("reload")
        fleet.kill_daemon()
        assert fleet.daemon()["gateway_pid"] == pid, "neither tries the port again at the gateway's cost"


def test_it_gets_the_pipes_of_the_servers_that_it_asks_for(fleet: Fleet) -> None:
    fleet.write({"echo": {"command": ECHO, "stdio": True, "start_on": "demand"}})
    fleet.up(**stand_in(fleet, RELAY))
    address = mcp_socket(fleet)
    pid, *words = ask(address, "hello there")
    assert words == ["hello", "there"]
    server = fleet.pid("echo")
    fleet.kill(int(pid))
    after, *words = ask(address, "once more")
    assert (words, after != pid) == (["once", "more"], True)
    assert fleet.pid("echo") == server, "the server has not noticed"
