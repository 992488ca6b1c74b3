"""Clients that are not supervisorctl: Python's own, supervisor's transport, and some that mean no good."""

import base64
import http.client
import socket
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from supervisor import childutils

from tests.e2e.fleet_driver import DEADLINE, until
from tests.e2e.supervisor.pair import PASSWORD, Info, Orchestra, Program, free_port

pytestmark = pytest.mark.slow

SHELL = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exec sleep 1000"


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchestra]:
    one = Orchestra(tmp_path_factory.mktemp("clients") / "orchestra", free_port())
    one.write(
        [
            Program.shell("web", SHELL),
            Program.shell(
                "slow", "trap : TERM; while :; do sleep 0.05; done", stopwaitsecs=2, autostart=False
            ),
            Program.shell("late", "exec sleep 1000", startsecs=2, autostart=False),
        ]
    )
    one.up()
    yield one
    one.end()


def inet(side: Orchestra) -> xmlrpc.client.ServerProxy:
    user = f"joe:{PASSWORD.replace(' ', '%20').replace(':', '%3A')}"
    return xmlrpc.client.ServerProxy(f"http://{user}@127.0.0.1:{side.port}/RPC2")


def test_pythons_own_client_works_over_the_port(side: Orchestra) -> None:
    with inet(side) as proxy:
        supervisor: Any = proxy.supervisor
        assert supervisor.getState() == {"statecode": 1, "statename": "RUNNING"}
        assert supervisor.getPID() == side.fleet.keeper
        assert len(cast("list[str]", proxy.system.listMethods())) == 41
        calls = [
            {"methodName": "supervisor.getAPIVersion", "params": []},
            {"methodName": "supervisor.getProcessInfo", "params": ["nobody"]},
        ]
        # Bare values, as supervisord has them; the standard would have each in a list.
        assert proxy.system.multicall(calls) == ["3.0", {"faultCode": 10, "faultString": "BAD_NAME: nobody"}]


def test_supervisors_own_helper_for_listeners_works_over_the_socket(side: Orchestra) -> None:
    env = {"SUPERVISOR_SERVER_URL": side.url}
    proxy: Any = childutils.getRPCInterface(env)
    try:
        assert proxy.supervisor.getProcessInfo("web")["statename"] == "RUNNING"
    finally:
        proxy("transport").close()


def test_who_has_no_password_is_refused_and_told_how_to_give_one(side: Orchestra) -> None:
    for header in ({}, {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}, wrong_password()):
        with closing(http.client.HTTPConnection("127.0.0.1", side.port, timeout=DEADLINE)) as connection:
            for path in ("/RPC2", "/", "/logtail/web", "/mainlogtail"):
                connection.request("POST" if path == "/RPC2" else "GET", path, headers=header)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 401, (path, header)
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="default"'


def wrong_password() -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(b"joe:guess").decode()}


def test_an_answer_that_waits_holds_nobody_up_and_ends_with_its_client(side: Orchestra) -> None:
    assert side.call("supervisor.startProcess", "slow", True) is True
    with closing(connected(side)) as waiting:
        waiting.sendall(posted("supervisor.stopProcess", "slow", True))
        until(lambda: state(side, "slow") == "STOPPING", "it is being stopped")
        began = time.monotonic()
        assert side.call("supervisor.getAPIVersion") == "3.0"
        assert time.monotonic() - began < 1.5
    until(lambda: state(side, "slow") == "STOPPED", "its client has gone, and it is stopped all the same")
    assert side.call("supervisor.startProcess", "late", False) is True
    assert state(side, "late") == "STARTING"
    assert side.call("supervisor.stopProcess", "late", True) is True


def state(side: Orchestra, name: str) -> str:
    return str(cast("Info", side.call("supervisor.getProcessInfo", name))["statename"])


def connected(side: Orchestra) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    sock.connect(f"{side.folder}/s.sock")
    return sock


def posted(method: str, *params: Any) -> bytes:
    body = xmlrpc.client.dumps(params, method).encode()
    return b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_all_that_a_daemons_death_costs_a_client_is_a_pause(side: Orchestra) -> None:
    before = cast("Info", side.call("supervisor.getProcessInfo", "web"))
    started = side.call("supervisor.startProcess", "slow", True)
    assert started is True
    assert side.call("supervisor.stopProcess", "slow", True) is True
    stopped = cast("Info", side.call("supervisor.getProcessInfo", "slow"))
    side.fleet.kill_daemon()

    def answers() -> bool:
        try:
            return isinstance(side.call("supervisor.getState"), dict)
        except OSError:
            return False

    until(answers, "the next daemon answers on the same socket")
    until(lambda: isinstance(side.call("supervisor.getState", inet=True), dict), "and on the same port")
    after = cast("Info", side.call("supervisor.getProcessInfo", "web"))
    assert {key: after[key] for key in ("pid", "start", "state")} == {
        key: before[key] for key in ("pid", "start", "state")
    }
    later = cast("Info", side.call("supervisor.getProcessInfo", "slow"))
    assert {**later, "now": 0} == {**stopped, "now": 0}, "when it ran is known to the next daemon"


def test_the_page_shows_the_processes_and_nothing_that_a_name_could_smuggle_in(side: Orchestra) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", side.port, timeout=DEADLINE)) as connection:
        token = base64.b64encode(f"joe:{PASSWORD}".encode()).decode()
        connection.request("GET", "/", headers={"Authorization": f"Basic {token}"})
        answer = connection.getresponse()
        page = answer.read().decode()
    assert answer.status == 200
    assert "<td>web</td><td>RUNNING</td>" in page
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_curl_gets_a_tail_as_it_grows(side: Orchestra) -> None:
    url = "http://localhost/logtail/web/stdout"
    words = ["curl", "-sN", "--unix-socket", f"{side.folder}/s.sock", url]
    env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "TEST_FOLDER": f"{side.folder}/"}
    try:
        curl = subprocess.Popen(words, stdout=subprocess.PIPE, env=env)
    except FileNotFoundError:
        pytest.skip("no curl here")
    try:
        assert curl.stdout is not None
        assert curl.stdout.readline() == b"one\n"
        Path(side.folder / "go").touch()
        assert curl.stdout.readline() == b"two\n"
    finally:
        curl.kill()
        curl.communicate()


def test_a_fleet_whose_port_is_taken_does_not_start_and_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        side = Orchestra(tmp_path / "orchestra", int(taken.getsockname()[1]))
        try:
            side.write([Program.sleeping("web")])
            done = side.fleet.run("up", "--detach", "-c", "supervisord.conf")
        finally:
            side.end()
    assert done.returncode != 0
    assert (
        f"http://127.0.0.1:{side.port}: the port cannot be listened on: Address already in use" in done.stderr
    )
