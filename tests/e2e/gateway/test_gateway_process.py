"""The process `python -P -m orchestra_supervisor.gateway` on sockets that it inherits.

The daemon is a stand-in here: a small server on a Unix socket that answers what the gateway asks it.
"""

import http.server
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from orchestra_supervisor.mcp_tokens import make_token
from tests.e2e.gateway.front_driver import ROOT, Line

DEADLINE = 20.0


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers `GET /v1/mcp` and `/v1/health`, and streams events."""

    daemon_threads = True

    def __init__(self, home: Path) -> None:
        self.settings: dict[str, Any] = {"http": None, "auth": "token", "idle_stop": 0}
        self.asked: list[str] = []
        self.followers: dict[Any, str] = {}
        """Those who follow events now, and of which kind."""
        self.ready = threading.Condition()
        super().__init__(str(home / "control.sock"), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reload(self, **settings: Any) -> None:
        self.settings |= settings
        with self.ready:
            assert self.ready.wait_for(lambda: self._those_who_hear("config."), DEADLINE)
            for out in self._those_who_hear("config."):
                out.write(b'id: 7\nevent: config.reloaded\ndata: {"kind": "config.reloaded"}\n\n')
                out.flush()

    def _those_who_hear(self, kind: str) -> list[Any]:
        return [out for out, path in self.followers.items() if path.endswith(f"kind={kind}")]

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        with self.ready:
            for out in self.followers:
                out.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        daemon = self.server
        assert isinstance(daemon, Daemon)
        daemon.asked.append(self.path)
        if self.path.startswith("/v1/events/stream"):
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            with daemon.ready:
                daemon.followers[self.wfile] = self.path
                daemon.ready.notify_all()
            try:
                self.rfile.read()  # until the gateway leaves
            finally:
                with daemon.ready:
                    del daemon.followers[self.wfile]
            return
        answers = {
            "/v1/mcp": {"settings": daemon.settings, "backends": []},
            "/v1/health": {"ok": True, "pid": os.getpid()},
            "/v1/status": {"daemon": {}, "services": []},
        }
        body = json.dumps(
            answers.get(self.path, {"error": {"code": "x", "message": "no", "hint": "no"}})
        ).encode()
        self.send_response(200 if self.path in answers else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "gateway"

    def log_message(self, *_: object) -> None:
        pass


class Process:
    """A gateway process and its sockets, which outlive it as they do with the keeper."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lines = socket.socket(socket.AF_UNIX)
        self.lines.bind(str(home / "mcp.sock"))
        self.lines.listen(64)
        self.http = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.log = home / "gateway.log"
        self.running: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return int(self.http.getsockname()[1])

    def start(self) -> subprocess.Popen[bytes]:
        """Start it with the sockets from descriptor 3 on, as the keeper does."""
        code = (
            "import fcntl, os, sys; high = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 100) for n in sys.argv[1:]];"
            "[os.dup2(n, 3 + at) for at, n in enumerate(high)]; os.environ['LISTEN_PID'] = str(os.getpid());"
            "os.closerange(5, 200);"
            "os.execv(sys.executable, [sys.executable, '-P', '-m', 'orchestra_supervisor.gateway'])"
        )
        numbers = (self.lines.fileno(), self.http.fileno())
        env = {
            **os.environ,
            "ORCHESTRA_HOME": str(self.home),
            "LISTEN_FDS": "2",
            "LISTEN_FDNAMES": "mcp:mcp_http",
        }
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-c", code, *map(str, numbers)],
                env=env,
                pass_fds=numbers,
                cwd=ROOT,
                stderr=log,
                stdout=log,
            )
        return self.running

    def line(self, hello: object = None) -> Line:
        return Line(str(self.home / "mcp.sock"), hello or {"orchestra": 1, "endpoint": "control"})

    def get(self, path: str, host: str = "localhost") -> int:
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as plug:
            plug.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return int(plug.makefile("rb").read().split(b" ")[1])

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def close(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
        self.lines.close()
        self.http.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.end()


@pytest.fixture
def process(tmp_path: Path) -> Generator[Process]:
    process = Process(tmp_path)
    yield process
    process.close()


def test_it_serves_both_sockets_and_ends_at_sigterm(daemon: Daemon, process: Process) -> None:
    daemon.settings["http"] = f"127.0.0.1:{process.port}"
    running = process.start()
    assert (process.get("/health"), process.get("/mcp"), process.get("/health", "evil.example.com")) == (
        200,
        401,
        421,
    )
    with process.line({"orchestra": 1, "endpoint": "server", "server": "none"}) as line:
        answer = line.receive()
        assert answer is not None
        assert answer["error"]["message"] == "nothing is served at /s/none/mcp: is the name right?"
    running.send_signal(signal.SIGTERM)
    assert running.wait(DEADLINE) == 0
    assert "Traceback" not in process.said()


def test_a_connection_that_was_there_first_is_served(daemon: Daemon, process: Process) -> None:
    """It is what starts the gateway: it waits in the backlog until somebody accepts it."""
    with process.line({"orchestra": 1, "endpoint": "nothing"}) as line:
        process.start()
        answer = line.receive()
        assert answer is not None
        assert answer["error"]["message"].startswith("there is no endpoint 'nothing'")


def test_it_waits_for_a_daemon_that_is_being_replaced(tmp_path: Path, process: Process) -> None:
    process.start()
    with process.line({"orchestra": 1, "endpoint": "nothing"}) as line:
        daemon = Daemon(tmp_path)
        try:
            assert line.receive() is not None
        finally:
            daemon.end()


def test_told_to_end_before_the_daemon_answers_it_ends(process: Process) -> None:
    running = process.start()
    until_caught(running.pid, signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    assert running.wait(DEADLINE) == 0


def until_caught(pid: int, number: int) -> None:
    """Wait until a process has a handler for a signal."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        rows = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        caught = next(int(row.split()[1], 16) for row in rows if row.startswith("SigCgt"))
        if caught & 1 << (number - 1):
            return
    raise AssertionError("the signal is not caught")


def test_it_ends_by_itself_when_nobody_is_there_and_not_before(daemon: Daemon, process: Process) -> None:
    daemon.settings["idle_stop"] = 0.4
    running = process.start()
    with process.line({"orchestra": 1, "endpoint": "nothing"}) as line:
        line.receive()
    assert running.wait(DEADLINE) == 0
    again = process.start()  # by the next connection
    assert process.get("/health") == 200
    assert again.wait(DEADLINE) == 0
    assert "Traceback" not in process.said()


def test_it_takes_what_a_reload_changes(daemon: Daemon, process: Process) -> None:
    process.start()
    assert process.get("/mcp") == 401
    daemon.reload(auth="none")
    end = time.monotonic() + DEADLINE
    while process.get("/mcp") == 401 and time.monotonic() < end:
        pass
    assert process.get("/mcp") == 400  # let in; but a GET without a session means nothing


def test_a_token_made_while_it_runs_lets_in_at_once(daemon: Daemon, process: Process) -> None:
    process.start()
    text = make_token(process.home, "laptop", "viewer", 1.0)
    with socket.create_connection(("127.0.0.1", process.port), timeout=DEADLINE) as plug:
        head = f"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {text}\r\n"
        plug.sendall(head.encode() + b"Connection: close\r\n\r\n")
        assert plug.makefile("rb").read().startswith(b"HTTP/1.1 404")


def test_without_sockets_and_home_it_says_what_is_missing() -> None:
    env = {name: value for name, value in os.environ.items() if name != "ORCHESTRA_HOME"}
    command = [sys.executable, "-P", "-m", "orchestra_supervisor.gateway"]
    result = subprocess.run(
        command, env=env, capture_output=True, encoding="utf-8", timeout=DEADLINE, check=False
    )
    said = "no state directory or no sockets: KeyError('ORCHESTRA_HOME')"
    hint = "the fleet starts the gateway by itself"
    assert (result.returncode, result.stderr) == (2, f"orchestra: {said}; hint: {hint}\n")


def test_it_imports_neither_pydantic_nor_mcp_nor_starlette() -> None:
    code = (
        "import sys, orchestra_supervisor.gateway.app; print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    command = [
        sys.executable,
        "-P",
        "-c",
        code,
        "pydantic",
        "mcp",
        "mcp_types",
        "starlette",
        "httpx2",
        "rich",
    ]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=DEADLINE, check=True)
    assert result.stdout == "[]\n"
